"""Product files as Shopify and WooCommerce export them are goods files: read where they are certain, else refused."""

import csv
import io
from pathlib import Path

import pytest

from scripts.lib.goods_file import Entry, WrongGoodsFile, read_goods_file
from scripts.lib.goods_table import Problem

SHOPIFY = (
    "Handle,Title,Body (HTML),Vendor,Product Category,Type,Tags,Published,Option1 Name,Option1 Value,Option2 Name,"
    "Option2 Value,Option3 Name,Option3 Value,Variant SKU,Variant Grams,Variant Inventory Tracker,"
    "Variant Inventory Qty,Variant Inventory Policy,Variant Fulfillment Service,Variant Price,"
    "Variant Compare At Price,Variant Requires Shipping,Variant Taxable,Variant Barcode,Image Src,Image Position,"
    "Image Alt Text,Gift Card,SEO Title,SEO Description,Google Shopping / Google Product Category,Variant Image,"
    "Variant Weight Unit,Variant Tax Code,Cost per item,Price / International,Compare At Price / International,Status"
)
SHOPIFY_NEW = (
    "Title,URL handle,Description,Vendor,Product category,Type,Tags,Published on online store,Status,SKU,Barcode,"
    "Option1 name,Option1 value,Option2 name,Option2 value,Option3 name,Option3 value,Price,Compare-at price,"
    "Cost per item,Charge tax,Tax code,Inventory tracker,Inventory quantity,Continue selling when out of stock,"
    "Weight value (grams),Weight unit for display,Requires shipping,Fulfillment service,Product image URL,"
    "Image position,Image alt text,Variant image URL,Gift card,SEO title,SEO description,Color (product.metafields.x)"
)
WOOCOMMERCE = (
    'ID,Type,SKU,"GTIN, UPC, EAN, or ISBN",Name,Published,"Is featured?","Visibility in catalog","Short description",'
    'Description,"Date sale price starts","Date sale price ends","Tax status","Tax class","In stock?",Stock,'
    '"Low stock amount","Backorders allowed?","Sold individually?","Weight (kg)","Length (cm)","Width (cm)",'
    '"Height (cm)","Allow customer reviews?","Purchase note","Sale price","Regular price",Categories,Tags,'
    '"Shipping class",Images,"Download limit","Download expiry days",Parent,"Grouped products",Upsells,Cross-sells,'
    '"External URL","Button text",Position,"Attribute 1 name","Attribute 1 value(s)","Meta: _note"'
)


def export(header: str, *rows: dict[str, str]) -> str:
    """A file with these columns; what a row does not name is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, next(csv.reader([header])), restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(tmp_path: Path, content: str, currency: str = "EUR") -> list[Entry]:
    path = tmp_path / "export.csv"
    path.write_text(content, encoding="utf-8", newline="")
    return read_goods_file(path, currency=currency)


def problems_of(tmp_path: Path, content: str) -> list[Problem]:
    with pytest.raises(WrongGoodsFile) as wrong:
        read(tmp_path, content)
    return wrong.value.problems


def told(entries: list[Entry]) -> list[tuple[str, str, int, int, bool, str]]:
    return [
        (
            entry.sku,
            entry.put_goods.goods.name,
            entry.put_goods.goods.price_cents,
            entry.set_stock.quantity,
            entry.put_goods.goods.on_sale,
            entry.put_goods.goods.image_url,
        )
        for entry in entries
    ]


def shirt(**cells: str) -> dict[str, str]:
    return {"Handle": "shirt", "Variant SKU": "shirt-s", "Variant Price": "29.00", "Variant Inventory Qty": "5"} | cells


FIRST = {"Title": "Shirt", "Published": "true", "Status": "active", "Image Src": "https://x/1.png"}


def test_shopify_s_variants_have_the_name_of_their_product_and_lines_with_a_further_image_are_no_goods(
    tmp_path: Path,
) -> None:
    content = export(
        SHOPIFY,
        shirt(**FIRST, **{"Option1 Name": "Size", "Option1 Value": "S", "Option2 Value": "Red"}),
        shirt(
            **{
                "Option1 Value": "M",
                "Option2 Value": "Red",
                "Variant SKU": "shirt-m",
                "Variant Image": "https://x/m.png",
            }
        ),
        {"Handle": "shirt", "Image Src": "https://x/2.png", "Image Position": "2", "Image Alt Text": "Back"},
        shirt(
            Handle="mug",
            Title="Mug",
            Published="TRUE",
            Status="draft",
            **{"Option1 Name": "Title", "Option1 Value": "Default Title", "Variant SKU": "mug"},
        ),
        shirt(Handle="pot", Title="Pot", Published="FALSE", **{"Variant SKU": "pot"}),
    )
    assert told(read(tmp_path, content)) == [
        ("shirt-s", "Shirt - S / Red", 2900, 5, True, "https://x/1.png"),
        ("shirt-m", "Shirt - M / Red", 2900, 5, True, "https://x/m.png"),
        ("mug", "Mug", 2900, 5, False, ""),
        ("pot", "Pot", 2900, 5, False, ""),
    ]


def test_shopify_s_newer_headers_are_known(tmp_path: Path) -> None:
    mug = {"Title": "Mug", "URL handle": "mug", "SKU": "mug", "Price": "7.50", "Inventory quantity": "3"}
    content = export(SHOPIFY_NEW, mug | {"Published on online store": "TRUE", "Status": "Active"})
    assert told(read(tmp_path, content)) == [("mug", "Mug", 750, 3, True, "")]


@pytest.mark.parametrize(
    ("cells", "column", "rule"),
    [
        ({"Variant SKU": ""}, "Variant SKU", "at least 1 character"),
        ({"Variant Price": ""}, "Variant Price", 'a "."'),
        ({"Variant Inventory Qty": "-2"}, "Variant Inventory Qty", "in digits alone"),
        ({"Variant Inventory Qty": ""}, "Variant Inventory Qty", "in digits alone"),
        ({"Title": ""}, "Title", 'no line before names the product "shirt"'),
        ({"Published": "maybe"}, "Published", "true or false"),
        ({"Status": "gone"}, "Status", "active, unlisted, draft or archived"),
    ],
)
def test_what_is_wrong_in_shopify_s_export_is_named_as_it_calls_it(
    tmp_path: Path, cells: dict[str, str], column: str, rule: str
) -> None:
    [problem] = problems_of(tmp_path, export(SHOPIFY, shirt(**(FIRST | cells))))
    assert (problem.line, problem.column) == (2, column)
    assert rule in problem.rule


def test_an_export_needs_a_currency(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    path.write_text(export(SHOPIFY, shirt(**FIRST)))
    with pytest.raises(WrongGoodsFile, match=r'lacks "currency" \(or say CURRENCY=EUR'):
        read_goods_file(path)
    path.write_text(export(SHOPIFY + ",Currency", shirt(**FIRST, Currency="JPY") | {"Variant Price": "29"}))
    [entry] = read_goods_file(path)
    assert entry.put_goods.goods.currency == "JPY"


def test_a_shop_of_several_locations_exports_no_stock(tmp_path: Path) -> None:
    header = SHOPIFY.replace("Variant Inventory Qty,", "")
    row = shirt(**FIRST)
    del row["Variant Inventory Qty"]
    [problem] = problems_of(tmp_path, export(header, row))
    assert 'lacks "Variant Inventory Qty"' in problem.rule


def tee(**cells: str) -> dict[str, str]:
    base = {"ID": "44", "Type": "simple", "SKU": "tee", "Name": "Tee", "Published": "1", "Stock": "7"}
    return base | {"Regular price": "18.00"} | cells


def test_woocommerce_s_export_is_read_and_the_parents_of_variations_are_no_goods(tmp_path: Path) -> None:
    content = export(
        WOOCOMMERCE,
        tee(Images="https://x/a.jpg, https://x/b.jpg"),
        tee(ID="45", Type="variable", SKU="hoodie", Name="Hoodie", Stock="", **{"Regular price": ""}),
        tee(ID="46", Type="variation", SKU="hoodie-blue", Name="Hoodie - Blue", Parent="hoodie"),
        tee(ID="47", Type="simple, virtual", SKU="album", Name="Album", Published="0"),
        tee(ID="48", SKU="draft", Name="Draft", Published="-1"),
        tee(
            ID="49", Type="grouped", SKU="set", Name="Set", Stock="", **{"Regular price": "", "Grouped products": "tee"}
        ),
    )
    assert told(read(tmp_path, content)) == [
        ("tee", "Tee", 1800, 7, True, "https://x/a.jpg"),
        ("hoodie-blue", "Hoodie - Blue", 1800, 7, True, ""),
        ("album", "Album", 1800, 7, False, ""),
        ("draft", "Draft", 1800, 7, False, ""),
    ]


@pytest.mark.parametrize(
    ("cells", "column", "rule"),
    [
        ({"SKU": ""}, "SKU", "at least 1 character"),
        ({"Stock": ""}, "Stock", "in digits alone"),
        ({"Stock": "2.5"}, "Stock", "in digits alone"),
        ({"Regular price": "18,00"}, "Regular price", 'a "."'),
        ({"Sale price": "16.00"}, "Sale price", "one price"),
        ({"Published": "yes"}, "Published", "1, 0 or -1"),
        ({"Type": "external"}, "Type", "sold elsewhere"),
        ({"Type": "bundle"}, "Type", "simple, variable, variation or grouped"),
    ],
)
def test_what_is_wrong_in_woocommerce_s_export_is_named_as_it_calls_it(
    tmp_path: Path, cells: dict[str, str], column: str, rule: str
) -> None:
    [problem] = problems_of(tmp_path, export(WOOCOMMERCE, tee(**cells)))
    assert (problem.line, problem.column) == (2, column)
    assert rule in problem.rule
