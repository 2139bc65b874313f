"""On which CPU each service of the benchmark runs: by its number among its like, so that none meets another by chance.

Services that listen on a port that the system picks would choose their CPU by their pid
(`common.process.cpu_affinity`): on two CPUs, two replicas would share one in every second run.
"""

from typing import Final

from common.process.cpu_affinity import ANY, allowed_cpus

ONE_EACH: Final = "each service on one CPU"
_ANY: Final = "services on any CPU"


def cpu_of(number: int, allowed: list[int] | None = None) -> str:
    """The setting (`INVENTORY_CPU`, …) of who is number 0, 1, …: the CPUs in turn.

    Args:
        number: How many there are before it.
        allowed: The CPUs to choose from; None: those that this process may run on.
    """
    cpus = allowed_cpus() if allowed is None else allowed
    return str(cpus[number % len(cpus)]) if cpus else ANY


def policy() -> str:
    """For a report: how services are spread over the CPUs."""
    return ONE_EACH if allowed_cpus() else _ANY
