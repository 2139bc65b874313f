"""Two replicas of each service, as processes on one database: they start at once, and serve as one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import grpc
import pytest

from common.rpc.errors import to_domain_error
from reback.order.v1 import order_pb2 as pb
from scripts.lib.shop import Shop
from scripts.story.story import SETTINGS, USER_ID, Story
from tests.support.replicas import Site, replicas
from tests.support.tables import states, unsettled
from tests.support.waiting import wait_until
from tests.support.worlds import World

CALLERS: Final = 500
AT_ONCE: Final = 64
pytestmark = pytest.mark.timeout(300)  # four processes are started, on a machine that may be busy


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    with replicas(
        world.folder, order={name.removeprefix("ORDER_").lower(): SETTINGS[name] for name in SETTINGS}
    ) as both:
        yield both
        both.stop()


def test_the_full_story_through_both_replicas(site: Site) -> None:
    with Shop(site.inventory.address, site.order.address) as shop:
        story = Story(shop)
        story.play()
    assert story.held, [claim.text for act in story.acts for claim in act.claims if not claim.holds]
    assert sum(len(act.claims) for act in story.acts) == 11
    site.shop.users = {USER_ID}
    site.shop.assert_books_balance()


def test_500_callers_for_the_last_unit_make_one_order(site: Site) -> None:
    sku = site.shop.new_sku(1)
    users = [site.shop.new_user() for _ in range(CALLERS)]

    def buy(user: int) -> str:
        try:
            order = site.shop.create(user, {sku: 1})
        except grpc.RpcError as refusal:
            return to_domain_error(refusal).reason
        site.shop.pay(order)
        return "bought"

    with ThreadPoolExecutor(AT_ONCE) as callers:
        answer = list(callers.map(buy, users))
    assert answer.count("bought") == 1
    assert set(answer) == {"bought", "NO_STOCK"}
    wait_until(lambda: not unsettled(site.folder), "all orders at rest")
    assert states(site.folder).count("PAID") == 1
    stock = site.shop.stock(sku)
    assert (stock.available, stock.sold) == (0, 1)
    site.shop.assert_books_balance()


def test_what_one_replica_began_the_other_goes_on_with(site: Site) -> None:
    with site.through(0) as one, site.through(1) as other:
        sku = one.new_sku(5)
        order = other.create(site.shop.new_user(), {sku: 2})
        assert one.pay(order).order.state == pb.ORDER_STATE_PAID
        request = pb.RefundOrderRequest(order_sn=order.order_sn, reason="broken")
        assert other.order.RefundOrder(request).state == pb.ORDER_STATE_CLOSED
        one.wait_for_available(sku, 5)
        other.wait_for_step(order.order_sn, "STOCK_RETURNED")
        assert one.steps(order.order_sn) == other.steps(order.order_sn)
    site.shop.assert_books_balance()
