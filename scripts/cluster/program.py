"""What the cluster knows of each program that it runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ENGINES: Final = "engines"
INVENTORY: Final = "inventory"
ORDER: Final = "order"


def _nothing() -> None:
    """Most programs need nothing before their first start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One process of the cluster.

    Attributes:
        name: What it is called in the cluster, and its log.
        group: What is started and stopped together: `engines`, `inventory` or `order`.
        command: What to run, the whole path first.
        folder: Its current folder, and where its data is.
        address: `host:port` that others use.
        ports: Every port that it listens on.
        files: Its configuration: the text of each file by the file's name in `folder`.
        trouble: Asks it, in its own protocol, whether it can do its work; the answer is what it can't, or nothing.
        prepare: What has to be done before its first start; again is harmless.
    """

    name: str
    group: str
    command: Sequence[str]
    folder: Path
    address: str
    ports: Sequence[int]
    trouble: Callable[[], str]
    files: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[], None] = _nothing

    def write_files(self) -> bool:
        """Write its configuration, and tell whether anything in it is new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        changed = False
        for name, text in self.files.items():
            file = self.folder / name
            if not file.is_file() or file.read_text(encoding="utf-8") != text:
                file.write_text(text, encoding="utf-8")
                changed = True
        return changed


class CannotRun(Exception):
    """A program is missing, or does not become healthy; the text says what to do or has its last words."""
