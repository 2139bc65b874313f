"""What the pages name is there: links, files, modules, make's verbs, metrics, log lines."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "docker").rglob("*.md")])
OPERATIONS: Final = (ROOT / "docs" / "operations.md").read_text()
SERVICES: Final = ("common", "inventory_srv", "order_srv")

_LINK: Final = re.compile(r"\[[^]]*]\(([^)\s]+)\)")
_FENCE: Final = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_CODE: Final = re.compile(r"`([^`\n]+)`")
_HEADING: Final = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_PATH: Final = re.compile(r"(?:common|inventory_srv|order_srv|scripts|tests|docker|docs|proto)/[\w./-]*")
_MODULE: Final = re.compile(r"(?:python -m|^from) ((?:common|inventory_srv|order_srv|scripts)(?:\.\w+)*)", re.MULTILINE)
_VERB: Final = re.compile(r"\bmake ([a-z][\w-]+)")


def test_every_link_leads_somewhere() -> None:
    assert _wrong(lambda page: (link for link in _LINK.findall(_prose(page)) if not _leads_somewhere(page, link))) == {}


def test_every_path_is_there() -> None:
    def missing(page: Path) -> Iterable[str]:
        paths = (code for code in _CODE.findall(_prose(page)) if _PATH.fullmatch(code))
        return (path for path in paths if not (ROOT / path).exists())

    assert _wrong(missing) == {}


def test_every_module_is_there() -> None:
    assert _wrong(lambda page: (name for name in _MODULE.findall(page.read_text()) if not _is_module(name))) == {}


def test_every_verb_of_make_is_there() -> None:
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    def missing(page: Path) -> Iterable[str]:
        commands = [*_FENCE.findall(page.read_text()), *_CODE.findall(_prose(page))]
        return (verb for command in commands for verb in _VERB.findall(command) if verb not in verbs)

    assert _wrong(missing) == {}


def _wrong(faults: Callable[[Path], Iterable[str]]) -> dict[str, list[str]]:
    """The faults of each page that has some."""
    assert len(PAGES) > 20
    found = {str(page.relative_to(ROOT)): list(faults(page)) for page in PAGES}
    return {page: some for page, some in found.items() if some}


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _leads_somewhere(page: Path, link: str) -> bool:
    if "://" in link:
        return True
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in _anchors(target))


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = _HEADING.findall(_prose(page))
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()


def test_operations_has_every_metric_and_no_other() -> None:
    counted = re.findall(r'(?:Counter|Gauge|Histogram)\(\s*"(reback_\w+)"', _sources())
    assert set(re.findall(r"`(reback_\w+)`", OPERATIONS)) == set(counted)


def test_operations_names_log_lines_as_they_are_written() -> None:
    events = re.findall(r"^\| `([^`]+)` \| (?:error|warning) \|", OPERATIONS, re.MULTILINE)
    assert len(events) > 5
    assert [event for event in events if f'"{event}"' not in _sources()] == []


def _sources() -> str:
    return "".join(path.read_text() for room in SERVICES for path in (ROOT / room).rglob("*.py"))
