"""A report of the benchmark: its JSON, its tables, and plots that are drawn from the JSON alone."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from scripts.bench.harness.figures import Axis, Figure, Load, Plot, Point, Series, Spread, Target
from scripts.bench.harness.options import Options
from scripts.bench.harness.results import Results
from scripts.bench.report.output import Output
from scripts.bench.report.plots import draw, draw_reports
from scripts.bench.report.report import in_words, machine, merged, of_part, read, write
from scripts.bench.report.table import console_tables, figure_rows, load_rows, markdown, missed, rounded

FACTS = {
    "time": "2030-01-02T03:04:05+00:00",
    "processor": "A Processor",
    "cores": 2,
    "memory_gb": 8.0,
    "cpu_policy": "each service on one CPU",
    "load_before": 0.1,
    "python": "3.11.7",
    "grpcio": "1.80.0",
    "sqlite": "3.40.1",
    "mariadb": "10.11",
}
OPTIONS = Options(
    seconds=3,
    rounds=2,
    callers=64,
    create_callers=32,
    connections=4,
    processes=1,
    replicas=1,
    skus=1000,
    due_orders=10,
    calls=100,
)
LINES = Plot(
    "throughput",
    "Throughput by callers",
    "lines",
    Axis("callers at once", log=True),
    Axis("throughput", "calls a second"),
    (
        Series("empty call", tuple(Point.of(x, Spread.of([x * 100.0, x * 110.0])) for x in (1, 2, 4))),
        Series("Sell", tuple(Point(x, x * 50.0) for x in (4, 2, 1))),
    ),
)
BARS = Plot(
    "ways",
    "Ways of selling",
    "bars",
    Axis("way"),
    Axis("throughput", "calls a second"),
    (Series("", (Point.of("no lock", Spread.of([9.0, 10.0]), "312 oversold", good=False), Point("a row lock", 4.0))),),
)
SHARES = Plot(
    "latency",
    "How long a call takes",
    "percentiles",
    Axis("calls answered within", "% of all"),
    Axis("latency", "ms", log=True),
    (Series("Sell", (Point(0.5, 3.0), Point(0.99, 20.0), Point(0.9999, 100.0))),),
)


def part(*plots: Plot, median: float = 0.55, faults: tuple[str, ...] = ()) -> dict[str, Any]:
    """A part's report, as it is after it was written and read."""
    target = Target(at_least=0.5, aim=0.7)
    spread = Spread.of([median, median - 0.05, median + 0.05])
    one = Spread.of([1234.5, 1300.0])
    load = Load(
        part="stock",
        name="Sell",
        how="64 callers, 4 connections",
        rate=one,
        p50=Spread.of([3.0, 4.0]),
        p99=Spread.of([20.0]),
        p999=Spread.of([100.0]),
        cpu={"service": Spread.of([250.0]), "engines": Spread.of([0.0]), "load": Spread.of([120.0])},
        distribution=((0.5, 3.0),),
        calls=2500,
    )
    figures = [Figure("stock", "Sell ÷ empty call", spread, "", 3, target), Figure("stock", "p99", one, "ms", 2)]
    report = of_part(FACTS, OPTIONS, 12.3, Results(figures, [load], list(plots), list(faults)))
    loaded: dict[str, Any] = json.loads(json.dumps(report))
    return loaded


def test_a_figure_is_told_with_its_range_its_target_and_its_aim() -> None:
    assert figure_rows(part()) == [
        ["Sell ÷ empty call", "0.550", "0.500 to 0.600", "≥ 0.5", "≥ 0.7", "met"],
        ["p99", "1,267 ms", "1,234 to 1,300", "", "", ""],
    ]


def test_a_load_is_told_with_its_latencies_and_who_took_the_processor() -> None:
    assert load_rows(part()) == [
        ["Sell", "64 callers, 4 connections", "1,267 (1,234 to 1,300)", "3.50", "20.0", "100", "250", "0", "120"]
    ]


def test_what_misses_its_target_is_named() -> None:
    assert missed({"parts": {"stock": part(median=0.3)}}) == ["Sell ÷ empty call"]
    assert missed({"parts": {"stock": part()}}) == []


def test_the_page_names_the_machine_the_books_faults_and_shows_the_plots() -> None:
    page = markdown({"world": "cluster", "parts": {"stock": part(faults=("one",))}}, {"stock": ["cluster/ways.svg"]})
    versions = "Python 3.11.7, grpcio 1.80.0, SQLite 3.40.1, MariaDB 10.11"
    assert f"A Processor, 2 cores, 8.0 GB; {versions}; each service on one CPU" in page
    assert "The books did not balance: 1 faults" in page
    assert "![ways](cluster/ways.svg)" in page
    rows = [line for line in page.splitlines() if line.startswith("| Sell ÷")]
    assert rows == ["| Sell ÷ empty call | 0.550 | 0.500 to 0.600 | ≥ 0.5 | ≥ 0.7 | met |"]
    widths = {line.count("|") for line in page.splitlines() if line.startswith("| ")}
    assert widths == {7, 10}


def test_a_terminal_shows_loads_and_figures() -> None:
    assert [table.row_count for table in console_tables(part(), "stock")] == [1, 2]


@pytest.mark.parametrize(
    ("value", "answer"), [(12345.6, "12,346"), (99.96, "100.0"), (5.556, "5.56"), (0.4449, "0.445"), (0, "0")]
)
def test_a_number_has_three_digits_or_so(value: float, answer: str) -> None:
    assert rounded(value) == answer


def test_a_part_that_is_measured_again_replaces_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "reports" / "cluster.json"
    assert read(file) == {}
    write(file, merged(read(file), "cluster", {"ways": part(), "stock": part(median=0.3)}, ["stock", "ways"]))
    report = merged(read(file), "cluster", {"stock": part()}, ["stock", "ways"])
    assert list(report["parts"]) == ["stock", "ways"]
    assert report["parts"]["stock"]["figures"][0]["value"]["median"] == 0.55


def output(folder: Path) -> Output:
    return Output(Console(), "cluster", folder, ["stock", "ways"])


def test_each_part_is_written_when_it_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = output(tmp_path / "new")
    written.add("stock", part(SHARES))
    assert list(read(tmp_path / "new" / "cluster.json")["parts"]) == ["stock"]
    assert "![latency](cluster/latency.svg)" in (tmp_path / "new" / "cluster.md").read_text()
    assert (tmp_path / "new" / "cluster" / "latency.png").is_file()
    written.add("ways", part(BARS, median=0.3))
    assert list(read(tmp_path / "new" / "cluster.json")["parts"]) == ["stock", "ways"]
    assert (tmp_path / "new" / "cluster.md").read_text().count("![") == 2
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["cluster", "cluster.json", "cluster.md"]
    assert written.report()
    answer = capsys.readouterr().out
    assert "missed: Sell ÷ empty call" in answer
    assert "written: stock, ways" in answer
    assert "no plots" not in answer


def test_a_part_of_an_earlier_run_stays_until_it_is_measured_anew(tmp_path: Path) -> None:
    output(tmp_path).add("ways", part(BARS))
    before = (tmp_path / "cluster" / "ways.svg").stat().st_mtime_ns
    output(tmp_path).add("stock", part(LINES))
    assert list(read(tmp_path / "cluster.json")["parts"]) == ["stock", "ways"]
    assert (tmp_path / "cluster" / "ways.svg").stat().st_mtime_ns == before
    assert (tmp_path / "cluster.md").read_text().count("![") == 2


def test_books_that_do_not_balance_are_told_and_so_is_that_nothing_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output(tmp_path).report()
    assert "nothing was measured" in capsys.readouterr().out
    written = output(tmp_path)
    written.add("stock", part(faults=("one unit is gone",)))
    assert not written.report()
    answer = capsys.readouterr().out
    assert "one unit is gone" in answer
    assert "the books do NOT balance" in answer


def test_a_run_that_is_killed_while_it_writes_leaves_the_report_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cluster.json"
    write(file, {"world": "cluster", "parts": {}})

    def killed(_path: Path, _to: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write(file, {"world": "cluster", "parts": {"stock": part()}})
    assert read(file) == {"world": "cluster", "parts": {}}


def test_a_report_of_another_world_is_left_alone() -> None:
    with pytest.raises(ValueError, match="embedded world, not of cluster"):
        merged({"world": "embedded", "parts": {}}, "cluster", {}, [])


def test_every_plot_is_drawn_from_the_json_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cluster.json"
    write(file, {"world": "cluster", "parts": {"stock": part(LINES, BARS, SHARES)}})
    draw_reports([file])
    names = ("throughput", "ways", "latency")
    assert capsys.readouterr().out.split() == [str(tmp_path / "cluster" / f"{name}.svg") for name in names]
    for name in names:
        svg = ET.parse(tmp_path / "cluster" / f"{name}.svg").getroot()
        assert svg.tag.endswith("svg")
        assert (tmp_path / "cluster" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_json_gives_the_same_picture(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        draw(json.loads(json.dumps(asdict(LINES))), "where", tmp_path / folder)
    assert (tmp_path / "one" / "throughput.svg").read_bytes() == (tmp_path / "two" / "throughput.svg").read_bytes()


def test_a_picture_says_what_it_shows(tmp_path: Path) -> None:
    """Letters are drawn, but matplotlib leaves each text beside them as a comment."""
    draw(json.loads(json.dumps(asdict(BARS))), "A Processor, 2 cores", tmp_path)
    svg = (tmp_path / "ways.svg").read_text()
    for text in ("Ways of selling", "no lock", "312 oversold", "throughput (calls a second)", "A Processor, 2 cores"):
        assert f"<!-- {text} -->" in svg or f"{text} -->" in svg, text


def test_a_long_footer_does_not_widen_a_picture(tmp_path: Path) -> None:
    def width(folder: str, footer: str) -> float:
        draw(json.loads(json.dumps(asdict(BARS))), footer, tmp_path / folder)
        return float(ET.parse(tmp_path / folder / "ways.svg").getroot().attrib["width"].removesuffix("pt"))

    assert width("long", "a version " * 40) <= width("short", "a version") + 1


def test_a_kind_of_plot_that_there_is_not_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no kind of plot: 'pie'; there are lines, percentiles, bars"):
        draw({**asdict(LINES), "kind": "pie"}, "", tmp_path)


def test_the_commit_that_was_measured_is_told_where_it_is_known() -> None:
    assert "commit" not in in_words(FACTS)
    assert in_words({**FACTS, "commit": ""}) == in_words(FACTS)
    assert in_words({**FACTS, "commit": "abc1234-dirty"}).endswith("; commit abc1234-dirty")
    assert re.fullmatch(r"([0-9a-f]{7,40}(-dirty)?)?", machine({})["commit"])
