"""How long reading and auditing the ledger takes, by how long it is."""

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from common import paging
from reback.inventory.v1.inventory_pb2 import AuditStockRequest, ListMovementsRequest
from scripts.bench.harness.figures import Axis, Plot, Point, Series, Spread, Target
from scripts.bench.harness.testbed import Testbed
from scripts.bench.parts.growth_testbed import Place

_CALLS: Final = 50
_AUDITS: Final = 3
_PAGE: Final = 50
_SKUS_OF_AN_AUDIT: Final = 1000
_TIMEOUT_S: Final = 60.0
_MS: Final = 1000.0
_HOT: Final = "hot-0000000"
_NTH_OLDEST: Final = f"SELECT id FROM movement WHERE sku = ? ORDER BY id LIMIT 1 OFFSET {_PAGE}"  # noqa: S608 our own
_WITHIN_A_DEADLINE: Final = Target(at_most=10_000)
"""Milliseconds: what a call without a deadline of its own is given."""


def read_ledger(testbed: Testbed, places: Mapping[int, Place]) -> None:
    """Time pages of movements, and of the audit, in ledgers of one sku and of a thousand of such lengths."""
    curves: dict[str, dict[int, Spread]] = {}
    for count, place in places.items():
        for name, call in _reads(place).items():
            curves.setdefault(name, {})[count] = Spread.of(_timed(call) for _ in range(_CALLS))
        audits = {"of one sku": ("", 1), "of 1,000 skus": (paging.encode((_HOT,)), _SKUS_OF_AN_AUDIT)}
        for name, (token, size) in audits.items():
            call = partial(_audit, place, token, size)
            curves.setdefault(f"AuditStock {name}", {})[count] = Spread.of(_timed(call) for _ in range(_AUDITS))
    for name, curve in curves.items():
        for count, spread in curve.items():
            target = _WITHIN_A_DEADLINE if name.startswith("Audit") else None
            testbed.figure(f"{name}, {count:,} movements", spread, "ms", target=target)
    series = [
        Series(name, tuple(Point.of(count, each) for count, each in curve.items())) for name, curve in curves.items()
    ]
    axes = Axis("movements", log=True), Axis("a page", "ms", log=True)
    testbed.plot(Plot("growth-ledger", "A page by how long the ledger is", "lines", *axes, tuple(series)))


def _reads(place: Place) -> Mapping[str, Callable[[], object]]:
    with place.inventory.reading():
        (oldest,) = place.inventory.execute(_NTH_OLDEST, (_HOT,)).fetchone()
    of_sku = partial(ListMovementsRequest, sku=_HOT, page_size=_PAGE)
    requests = {
        "ListMovements of a sku, first page": of_sku(),
        "ListMovements of a sku, last page": of_sku(page_token=paging.encode((oldest,))),
        "ListMovements of an order": ListMovementsRequest(order_sn="0-hot-0000000007"),
    }
    return {
        name: partial(place.shop.inventory.ListMovements, request, timeout=_TIMEOUT_S)
        for name, request in requests.items()
    }


def _audit(place: Place, token: str, size: int) -> None:
    request = AuditStockRequest(page_size=size, page_token=token)
    page = place.shop.inventory.AuditStock(request, timeout=_TIMEOUT_S)
    if page.differences:
        raise RuntimeError(f"stock, sales and movements differ: {page.differences[0]}")


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * _MS
