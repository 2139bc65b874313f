"""What a part of the benchmark found."""

from dataclasses import dataclass, field

from scripts.bench.harness.figures import Figure, Load, Plot


@dataclass
class Results:
    """What a part found.

    Attributes:
        figures: With or without targets, in the order of the table.
        loads: Every load that was measured.
        plots: What is to be drawn.
        faults: What was wrong in the books; empty when all is well.
    """

    figures: list[Figure] = field(default_factory=list)
    loads: list[Load] = field(default_factory=list)
    plots: list[Plot] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
