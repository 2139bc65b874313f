"""The goods file: every wrong line is named with its number, column and rule, and nothing is taken by halves."""

from pathlib import Path

import pytest

from scripts.lib.goods_file import Entry, WrongGoodsFile, read_goods_file
from scripts.lib.goods_table import Problem

HEADER = "sku,name,price_cents,currency,stock\n"
GOOD = "tea,Green tea,690,EUR,120\n"


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "goods.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems_of(tmp_path: Path, content: str | bytes, **options: str) -> list[Problem]:
    path = written(tmp_path, content)
    with pytest.raises(WrongGoodsFile) as wrong:
        read_goods_file(path, **options)
    assert str(path) in str(wrong.value)
    assert "nothing of it was loaded" in str(wrong.value)
    return wrong.value.problems


def places(problems: list[Problem]) -> list[tuple[int, str]]:
    return [(problem.line, problem.column) for problem in problems]


def price(entry: Entry) -> tuple[int, str]:
    return entry.put_goods.goods.price_cents, entry.put_goods.goods.currency


def test_the_file_that_comes_along_is_right() -> None:
    entries = read_goods_file(Path(__file__).parents[3] / "scripts" / "goods.csv")
    assert len(entries) == 10
    cups = next(entry for entry in entries if entry.sku == "cup-blue")
    assert cups.put_goods.goods.name == 'Cup "Blue hour"'
    assert price(cups) == (1290, "EUR")
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
        (" tea,Tea,1,EUR,1", "sku", '" tea"', "begins or ends with a blank"),
        ("tea\u00a0,Tea,1,EUR,1", "sku", r'"tea\xa0"', "begins or ends with a blank"),
        ("te\x1b[2Ja,Tea,1,EUR,1", "sku", r'"te\x1b[2Ja"', "control character"),
        ("story-tea,Tea,1,EUR,1", "sku", '"story-tea"', "`make run` keeps it for its story"),
        ("tea,,1,EUR,1", "name", '""', "at least 1 character"),
        ('tea,"Green\ntea",1,EUR,1', "name", r'"Green\ntea"', "control character"),
        ("tea,Tea,29.00,EUR,1", "price_cents", '"29.00"', "whole number of minor units, in digits alone"),
        ("tea,Tea,1_000,EUR,1", "price_cents", '"1_000"', "in digits alone"),
        ("tea,Tea, 5,EUR,1", "price_cents", '" 5"', "in digits alone"),
        ("tea,Tea,+5,EUR,1", "price_cents", '"+5"', "in digits alone"),
        ("tea,Tea,٣,EUR,1", "price_cents", '"٣"', "in digits alone"),
        ("tea,Tea,-1,EUR,1", "price_cents", '"-1"', "in digits alone"),
        ("tea,Tea,,EUR,1", "price_cents", '""', "in digits alone"),
        ("tea,Tea,100000000001,EUR,1", "price_cents", '"100000000001"', "less than or equal to 100000000000"),
        ("tea,Tea," + "9" * 5000 + ",EUR,1", "price_cents", "999…", "less than or equal to 100000000000"),
        ("tea,Tea,1,eur,1", "currency", '"eur"', "ISO 4217"),
        ("tea,Tea,1,EUX,1", "currency", '"EUX"', "ISO 4217"),
        (
            "tea,Tea,9999999999999999999,EUR,1",
            "price_cents",
            '"9999999999999999999"',
            "less than or equal to 100000000000",
        ),
        ("tea,Tea,1,EUR,9223372036854775808", "stock", '"9223372036854775808"', "less than or equal to 2147483647"),
        ("tea,Tea,1,EUR,many", "stock", '"many"', "in digits alone"),
        ("tea,Tea,1,EUR,1.000", "stock", '"1.000"', "in digits alone"),
        ("tea,Tea,1,EUR,-5", "stock", '"-5"', "in digits alone"),
        ("tea,Tea,1,EUR,2147483648", "stock", '"2147483648"', "less than or equal to 2147483647"),
        ("tea,Tea,1,EUR," + "1" * 4301, "stock", "111…", "less than or equal to 2147483647"),
    ],
)
def test_a_value_that_breaks_its_rule_is_named_with_line_and_column(
    tmp_path: Path, line: str, column: str, value: str, rule: str
) -> None:
    [problem] = problems_of(tmp_path, HEADER + "mug,Mug,1,EUR,1\n" + line + "\n")
    assert (problem.line, problem.column) == (3, column)
    assert value in problem.rule
    assert rule in problem.rule


@pytest.mark.parametrize(
    ("value", "currency", "cents"),
    [
        ("29.00", "EUR", 2900),
        ("29.0", "EUR", 2900),
        ("29", "EUR", 2900),
        ("0.07", "EUR", 7),
        ("2900", "JPY", 2900),
        ("1.000", "KWD", 1000),
        ("1", "KWD", 1000),
    ],
)
def test_a_decimal_price_counts_by_the_decimals_of_its_currency(
    tmp_path: Path, value: str, currency: str, cents: int
) -> None:
    [entry] = read_goods_file(written(tmp_path, f"sku,name,price,currency,stock\ntea,Tea,{value},{currency},1\n"))
    assert price(entry) == (cents, currency)


@pytest.mark.parametrize(
    ("value", "currency", "rule"),
    [
        ("29.005", "EUR", "at most 2 decimals for EUR"),
        ("1.000", "EUR", "at most 2 decimals for EUR"),
        ("29.00", "JPY", "no decimals for JPY"),
        ("29,00", "EUR", 'a "."'),
        ("1,000.00", "EUR", 'a "."'),
        ("€29.00", "EUR", 'a "."'),
        ("29.", "EUR", 'a "."'),
        (".5", "EUR", 'a "."'),
        ("1e3", "EUR", 'a "."'),
        ("٣.5", "EUR", 'a "."'),
        ("-1.00", "EUR", 'a "."'),
        ("", "EUR", 'a "."'),
        ("1000000000.01", "EUR", "less than or equal to 100000000000"),
    ],
)
def test_a_decimal_price_that_is_not_certain_is_refused(tmp_path: Path, value: str, currency: str, rule: str) -> None:
    [problem] = problems_of(tmp_path, f'sku,name,price,currency,stock\ntea,Tea,"{value}",{currency},1\n')
    assert (problem.line, problem.column) == (2, "price")
    assert f'"{value}"' in problem.rule
    assert rule in problem.rule


def test_prices_with_decimals_under_price_cents_and_stock_with_a_thousands_dot_are_refused(tmp_path: Path) -> None:
    content = (
        HEADER + "TEE-001,Classic tee,29.00,EUR,120\nMUG-002,Mug,7.00,EUR,80\nDATE-003,Dates 1 kg,1.000,KWD,1.000\n"
    )
    problems = problems_of(tmp_path, content)
    assert places(problems) == [(2, "price_cents"), (3, "price_cents"), (4, "price_cents"), (4, "stock")]
    assert 'for prices with decimals, call the column "price"' in problems[0].rule


def test_a_price_in_a_currency_that_is_unknown_is_not_blamed_as_well(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, "sku,name,price,currency,stock\ntea,Tea,29.00,EUX,1\n")
    assert (problem.line, problem.column) == (2, "currency")


def test_a_wrong_optional_value_is_named(tmp_path: Path) -> None:
    header = "sku,name,price_cents,currency,stock,on_sale,image_url\n"
    content = header + "tea,Tea,1,EUR,1,perhaps,\n" + "mug,Mug,1,EUR,1,yes," + "u" * 2001 + "\n"
    on_sale, image_url = problems_of(tmp_path, content)
    assert (on_sale.line, on_sale.column) == (2, "on_sale")
    assert "yes or no" in on_sale.rule
    assert (image_url.line, image_url.column) == (3, "image_url")


@pytest.mark.parametrize(
    ("value", "on_sale"), [("yes", True), ("TRUE", True), ("No", False), ("false", False), ("", True)]
)
def test_on_sale_is_yes_or_no(tmp_path: Path, value: str, on_sale: bool) -> None:
    [entry] = read_goods_file(written(tmp_path, f"{HEADER.strip()},on_sale\ntea,Tea,1,EUR,1,{value}\n"))
    assert entry.put_goods.goods.on_sale is on_sale


def test_a_line_tells_all_its_faults_and_every_wrong_line_is_named(tmp_path: Path) -> None:
    content = HEADER + "mug,Mug,x,EUX,y\n" + GOOD + "," + "n" * 201 + ",1,euro,-1\n" + "cup,Cup\n" + "tea,,1,EUR,1\n"
    assert places(problems_of(tmp_path, content)) == [
        (2, "price_cents"),
        (2, "currency"),
        (2, "stock"),
        (4, "sku"),
        (4, "name"),
        (4, "currency"),
        (4, "stock"),
        (5, ""),
        (6, "sku"),
        (6, "name"),
    ]


def test_a_sku_that_stands_twice_is_named_with_both_lines(tmp_path: Path) -> None:
    [problem] = problems_of(tmp_path, HEADER + GOOD + "mug,Mug,1,EUR,1\n" + GOOD)
    assert (problem.line, problem.column) == (4, "sku")
    assert '"tea" is on line 2 already' in problem.rule


def test_lines_are_counted_as_an_editor_counts_them(tmp_path: Path) -> None:
    content = HEADER + '\n"tea","Green\ntea",690,EUR,120\n' + "mug,Mug,x,EUR,1\n"
    assert places(problems_of(tmp_path, content)) == [(3, "name"), (5, "price_cents")]


@pytest.mark.parametrize(
    ("content", "line", "rule"),
    [
        ("", 1, "empty"),
        (HEADER, 2, "no goods"),
        ("sku,name,price_cents,currency\n", 1, 'lacks "stock"'),
        ("sku,name,currency,stock\n", 1, 'lacks "price_cents" or "price"'),
        ("sku,name,price,stock\n", 1, 'lacks "currency" (or say CURRENCY=EUR'),
        ("sku,name,price,price_cents,currency,stock\n", 1, 'has both "price" and "price_cents"'),
        ("sku|name|price_cents|currency|stock\n", 1, "separated by commas, semicolons or tabs"),
        (HEADER.strip() + ",colour,\x1bsize\n", 1, r'has unknown "colour", "\x1bsize"'),
        (HEADER.strip() + ",SKU\n", 1, 'repeats "SKU"'),
        ("sku,sku,colour\n", 1, 'lacks "name", "stock"'),
        ("sku,sku,colour\n", 1, 'has unknown "colour"'),
        ("sku,sku,colour\n", 1, 'repeats "sku"'),
        (HEADER + GOOD + "mug,Mug,1,EUR\n", 3, "4 cells under 5 columns"),
        (HEADER + "tea,Tea, green,1,EUR,3\n", 2, "6 cells under 5 columns"),
        (HEADER + GOOD + '"mug,Mug,1,EUR,1\n', 3, "not CSV"),
        (HEADER + GOOD + "m" * 200_000 + ",Mug,1,EUR,1\n", 3, "not CSV"),
        (HEADER.encode() + "tea,Thé vert,1,EUR,1\n".encode("cp1252"), 2, "not UTF-8: save the file as UTF-8"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xd0\xff", 1, "a spreadsheet, not CSV: export it as CSV"),
    ],
)
def test_a_file_that_can_not_be_read_is_named_with_the_line(
    tmp_path: Path, content: str | bytes, line: int, rule: str
) -> None:
    [problem] = problems_of(tmp_path, content)
    assert (problem.line, problem.column) == (line, "")
    assert rule in problem.rule


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}\r\n"])
def test_semicolons_and_tabs_separate_as_well(tmp_path: Path, separator: str, first: str) -> None:
    content = (HEADER + 'tea,"Tea, green",690,EUR,120\n').replace(",", separator).replace(f"Tea{separator} ", "Tea, ")
    [entry] = read_goods_file(written(tmp_path, first.format(separator) + content))
    assert (entry.sku, entry.put_goods.goods.name, entry.set_stock.quantity) == ("tea", "Tea, green", 120)


def test_column_names_in_capitals_and_with_blanks_around_are_known(tmp_path: Path) -> None:
    [entry] = read_goods_file(written(tmp_path, "SKU, Name ,Price_Cents,CURRENCY,Stock\n" + GOOD))
    assert (entry.sku, price(entry)) == ("tea", (690, "EUR"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_encodings_that_are_certain_are_read(tmp_path: Path, encoding: str) -> None:
    content = (HEADER + "tea,Thé vert 茶,1,EUR,1\n").encode(encoding)
    [entry] = read_goods_file(written(tmp_path, content))
    assert entry.put_goods.goods.name == "Thé vert 茶"


def test_another_encoding_is_read_when_it_is_named(tmp_path: Path) -> None:
    content = (HEADER + "tea,Thé vert à 5 €,1,EUR,1\n").encode("cp1252")
    [entry] = read_goods_file(written(tmp_path, content), encoding="windows-1252")
    assert entry.put_goods.goods.name == "Thé vert à 5 €"


@pytest.mark.parametrize("encoding", ["klingon", "base64", "utf-16\0", "💩"])
def test_an_encoding_that_does_not_exist_is_told(tmp_path: Path, encoding: str) -> None:
    [problem] = problems_of(tmp_path, HEADER + GOOD, encoding=encoding)
    assert problem.line == 0
    assert "ENCODING" in problem.rule


def test_one_currency_for_all_lines_stands_in_for_the_column(tmp_path: Path) -> None:
    content = "sku,name,price,stock\ntea,Tea,6.90,3\n"
    [entry] = read_goods_file(written(tmp_path, content), currency="KWD")
    assert price(entry) == (6900, "KWD")
    [problem] = problems_of(tmp_path, content, currency="euro")
    assert (problem.line, problem.rule) == (0, 'CURRENCY="euro": expected an ISO 4217 currency code, such as EUR')
    [problem] = problems_of(tmp_path, HEADER + GOOD, currency="EUR")
    assert problem.rule == 'CURRENCY="EUR": the file has a column "currency" already; keep one of them'


@pytest.mark.parametrize("name", ["none.csv", "", "it's a $HOME.csv"])
def test_a_file_that_is_not_there_is_said_so(tmp_path: Path, name: str) -> None:
    with pytest.raises(WrongGoodsFile) as wrong:
        read_goods_file(tmp_path / name)
    assert str(tmp_path / name) in str(wrong.value)
    assert "No such file" in str(wrong.value) or "a directory" in str(wrong.value)
    assert "line 0" not in str(wrong.value)
