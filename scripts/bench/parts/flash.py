"""A flash sale: thousands want what there are a hundred of, all at the same moment."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from reback.inventory.v1.inventory_pb2 import SetStockRequest
from reback.order.v1.order_pb2 import Goods, PutGoodsRequest
from scripts.bench.harness.figures import Target
from scripts.bench.harness.load import Kind
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER, EMBEDDED
from scripts.lib.goods_file import Entry
from scripts.lib.seeding import seed

UNITS: Final = 100
REQUESTS: Final = 10_000
_UNDER_WAY: Final = 1000
_REFUSED: Final = "FAILED_PRECONDITION"
_TOLD: Final = {EMBEDDED: Target(at_most=30, aim=10), CLUSTER: Target(at_most=5, aim=3)}
_FLASH: Final = f"CreateOrder, {REQUESTS:,} for {UNITS} units"


def flash(testbed: Testbed) -> Iterator[None]:
    """Let 10,000 callers create an order for one of 100 units, a thousand at once."""
    rounds = Rounds(testbed)
    for number in rounds:
        yield
        sku = f"flash-{number}"
        goods = Goods(sku=sku, name="Flash", price_cents=100, currency="EUR", on_sale=True)
        seed(
            testbed.shop,
            [Entry(PutGoodsRequest(goods=goods), SetStockRequest(sku=sku, quantity=UNITS, reason="bench"))],
        )
        plan = testbed.full_speed(Kind.CREATE, (sku,), callers=_UNDER_WAY)
        measured = rounds.load(_FLASH, replace(plan, count=REQUESTS, warm_up=0.0))
        refused = measured.failures[_REFUSED]
        rounds.note("units sold", measured.answered)
        rounds.note("told neither", measured.calls - measured.answered - refused)
        rounds.note("all were told after", measured.seconds)
        testbed.say(f"  round {number}: {measured.answered} sold, {refused:,} refused after {measured.seconds:.1f} s")
    rounds.report()
    rounds.value("units sold", "", Target(at_least=UNITS, at_most=UNITS))
    rounds.value("told neither", "calls", Target(at_most=0))
    rounds.value("all were told after", "s", _TOLD[testbed.world.name])
