"""What `python -m scripts.audit` says of the books, and how it exits."""

import pytest

import scripts.audit
from reback.inventory.v1.inventory_pb2 import StockDifference
from scripts.lib.books import Audited


def test_books_that_balance(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(scripts.audit, "audit", lambda _inventory: Audited(skus=3))
    scripts.audit.audit_books("127.0.0.1:1")
    assert "the books balance" in capsys.readouterr().out


def test_a_difference_is_printed_and_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = StockDifference(sku="[xl]\x1b", available=5, sold=1, available_by_movements=4, sold_by_movements=2)
    monkeypatch.setattr(scripts.audit, "audit", lambda _inventory: Audited(skus=3, differences=[wrong]))
    with pytest.raises(SystemExit) as ended:
        scripts.audit.audit_books("127.0.0.1:1")
    assert ended.value.code == 1
    printed = capsys.readouterr().out
    assert r'"[xl]\x1b": stock 5 available and 1 sold; by movements 4 and 2; by sales 0 sold' in printed
    assert "1 of 3 skus differ" in printed


@pytest.mark.parametrize("address", ["nowhere", "host:port:"])
def test_an_address_that_is_none_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        scripts.audit.audit_books(address)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"--inventory {address}: ")
