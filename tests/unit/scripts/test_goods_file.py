"""The goods file: every wrong line is named with its number, column and rule, and nothing is taken by halves."""

from pathlib import Path

import pytest

from scripts.lib.goods_file import Problem, WrongGoodsFile, read_goods_file

HEADER = "sku,name,price_cents,currency,stock\n"
GOOD = "tea,Green tea,690,EUR,120\n"


def problems_of(tmp_path: Path, content: str | bytes) -> list[Problem]:
    path = tmp_path / "goods.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(WrongGoodsFile) as wrong:
        read_goods_file(path)
    assert str(path) in str(wrong.value)
    assert "nothing of it was loaded" in str(wrong.value)
    return wrong.value.problems


def written(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "goods.csv"
    path.write_text(content, encoding="utf-8", newline="")
    return path


def test_the_file_that_comes_along_is_right() -> None:
    entries = read_goods_file(Path(__file__).parents[3] / "scripts" / "goods.csv")
    assert len(entries) == 10
    cups = next(entry for entry in entries if entry.sku == "cup-blue")
    assert cups.put_goods.goods.name == 'Cup "Blue hour"'
    assert (cups.put_goods.goods.price_cents, cups.put_goods.goods.currency) == (1290, "EUR")
    assert cups.put_goods.goods.on_sale
    assert cups.set_stock.quantity == 60


def test_columns_come_in_any_order_and_optional_ones_may_be_empty(tmp_path: Path) -> None:
    content = 'stock,on_sale,name,currency,price_cents,sku,image_url\r\n7,no," Tea, green ",EUR,0,茶,\r\n\r\n'
    [entry] = read_goods_file(written(tmp_path, "\ufeff" + content))
    goods = entry.put_goods.goods
    assert (goods.sku, goods.name, goods.image_url, goods.on_sale) == ("茶", "Tea, green", "", False)
    assert goods.HasField("price_cents")
    assert (entry.set_stock.sku, entry.set_stock.quantity) == ("茶", 7)


def test_the_same_sku_asks_for_its_stock_by_the_same_request_id(tmp_path: Path) -> None:
    [first] = read_goods_file(written(tmp_path, HEADER + GOOD))
    [again, other] = read_goods_file(written(tmp_path, HEADER + GOOD.replace("120", "5") + "mug,Mug,1,EUR,1\n"))
    assert first.set_stock.request_id == again.set_stock.request_id != other.set_stock.request_id
    assert 1 <= len(first.set_stock.request_id) <= 64
    assert first.set_stock.expected_version == 0
    assert first.set_stock.HasField("expected_version")


@pytest.mark.parametrize(
    ("line", "column", "value", "rule"),
    [
        (",Tea,1,EUR,1", "sku", '""', "at least 1 character"),
        ("s" * 65 + ",Tea,1,EUR,1", "sku", "sss…", "at most 64 characters"),
        ("tea,,1,EUR,1", "name", '""', "at least 1 character"),
        ("tea,Tea,12.50,EUR,1", "price_cents", '"12.50"', "valid integer"),
        ("tea,Tea,,EUR,1", "price_cents", '""', "valid integer"),
        ("tea,Tea,-1,EUR,1", "price_cents", '"-1"', "greater than or equal to 0"),
        ("tea,Tea,100000000001,EUR,1", "price_cents", '"100000000001"', "less than or equal to 100000000000"),
        ("tea,Tea,1,eur,1", "currency", '"eur"', "pattern"),
        ("tea,Tea,1,EUR,many", "stock", '"many"', "valid integer"),
        ("tea,Tea,1,EUR,-5", "stock", '"-5"', "greater than or equal to 0"),
        ("tea,Tea,1,EUR,2147483648", "stock", '"2147483648"', "less than or equal to 2147483647"),
        ("tea,Tea,1,EUR,9999999999999999999999", "stock", '"9999999999999999999999"', "less than"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_line_and_column(
    tmp_path: Path, line: str, column: str, value: str, rule: str
) -> None:
    [problem] = problems_of(tmp_path, HEADER + "mug,Mug,1,EUR,1\n" + line + "\n")
    assert (problem.line, problem.column) == (3, column)
    assert value in problem.rule
    assert rule in problem.rule


def test_a_wrong_optional_value_is_named(tmp_path: Path) -> None:
    header = "sku,name,price_cents,currency,stock,on_sale,image_url\n"
    content = header + "tea,Tea,1,EUR,1,perhaps,\n" + "mug,Mug,1,EUR,1,yes," + "u" * 2001 + "\n"
    on_sale, image_url = problems_of(tmp_path, content)
    assert (on_sale.line, on_sale.column) == (2, "on_sale")
    assert (image_url.line, image_url.column) == (3, "image_url")


def test_every_wrong_line_is_named_at_once(tmp_path: Path) -> None:
    content = HEADER + "tea,Tea,x,EUR,y\n" + GOOD + ",,1,euro,-1\n"
    found = [(problem.line, problem.column) for problem in problems_of(tmp_path, content)]
    assert found == [(2, "price_cents"), (2, "stock"), (4, "sku"), (4, "name"), (4, "currency"), (4, "stock")]


def test_a_sku_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, HEADER + GOOD + "mug,Mug,1,EUR,1\n" + GOOD)
    assert (problem.line, problem.column) == (4, "sku")
    assert '"tea" stands on line 2 already' in problem.rule


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    content = HEADER + '\n"tea","Green\ntea",690,EUR,120\n' + "mug,Mug,x,EUR,1\n"
    [problem] = problems_of(tmp_path, content)
    assert (problem.line, problem.column) == (5, "price_cents")


@pytest.mark.parametrize(
    ("content", "line", "rule"),
    [
        ("", 1, "empty"),
        (HEADER, 2, "no goods"),
        ("sku,name,price_cents,currency\n", 1, 'lacks "stock"'),
        (HEADER.replace(",", ";") + GOOD.replace(",", ";"), 1, "separated by commas"),
        (HEADER.strip() + ",colour\n", 1, 'unknown "colour"'),
        (HEADER.strip() + ",sku\n", 1, 'repeats "sku"'),
        (HEADER + GOOD + "mug,Mug,1,EUR\n", 3, "4 cells under 5 columns"),
        (HEADER + "tea,Tea, green,1,EUR,3\n", 2, "6 cells under 5 columns"),
        (HEADER + GOOD + '"mug,Mug,1,EUR,1\n', 3, "not CSV"),
        (HEADER.encode() + "tea,Thé vert,1,EUR,1\n".encode("latin-1"), 2, "not UTF-8"),
    ],
)
def test_a_file_that_can_not_be_read_is_named_with_the_line(
    tmp_path: Path, content: str | bytes, line: int, rule: str
) -> None:
    [problem] = problems_of(tmp_path, content)
    assert (problem.line, problem.column) == (line, "")
    assert rule in problem.rule


def test_a_file_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(WrongGoodsFile, match="No such file") as wrong:
        read_goods_file(tmp_path / "none.csv")
    assert "line 0" not in str(wrong.value)
