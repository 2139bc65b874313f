"""Data is printed as it is: it is never taken for markup, and can't steer the terminal."""

import io

import pytest
from rich.table import Table

from scripts.lib.terminal import make_console, printable, quoted
from scripts.story.story import Act, Claim, Progress, StockSeen, Story
from scripts.story.view import LiveView, PlainView

SKUS = ("shirt[xl]", "[/sale]", "shirt[link=x]m", "[bold]", ":tea:", "[red]")


@pytest.mark.parametrize("sku", SKUS)
def test_a_console_prints_what_looks_like_markup(sku: str) -> None:
    console = make_console()
    with console.capture() as captured:
        console.print(f"{sku} sold")
        table = Table("sku", title=sku)
        table.add_row(sku)
        console.print(table)
    assert captured.get().count(sku) == 3


@pytest.mark.parametrize("sku", [*SKUS, "a\x1b[2Jb", "a\x9b2Jb", "a\rb"])
def test_both_views_of_the_story_show_a_sku_as_it_is_and_steer_nothing(
    sku: str, capsys: pytest.CaptureFixture[str]
) -> None:
    story = Story(shop=None)  # type: ignore[arg-type] # it is only shown
    story.acts = [Act("It sells", Progress.HELD, claims=[Claim(f"1 of {sku} sold", holds=True)], state=sku)]
    story.stocks = [StockSeen(sku, 1, 0, 0, 1)]
    PlainView().show(story)
    plain = capsys.readouterr().out
    console = make_console(width=200)
    console.file = io.StringIO()
    with LiveView(console) as view:
        view.show(story)
    live = console.file.getvalue()
    for printed in (plain, live):
        assert printed.count(printable(sku)) == 3
        assert not {"\x1b", "\x9b", "\r"}.intersection(printed)


def test_what_can_not_be_seen_is_printed_as_an_escape() -> None:
    assert printable("Thé 茶\n\t[xl]") == "Thé 茶\n\t[xl]"
    assert printable("a\x1b[31m\u202eb\udce9") == r"a\x1b[31m\u202eb\udce9"
    assert quoted("a\nb") == r'"a\nb"'
    assert quoted("x" * 41) == f'"{"x" * 40}…"'
