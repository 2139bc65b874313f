"""Carts over real gRPC, and what of them CreateOrder buys."""

import pytest

from reback.order.v1 import order_pb2 as pb
from tests.component.order.carts import cart, put
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services


def test_an_item_is_as_it_was_put(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku()
    item = put(services, user, sku, 3, selected=False)

    assert (item.user_id, item.sku, item.quantity, item.selected) == (user, sku, 3, False)
    assert item.update_time.seconds > 0
    assert cart(services, user) == [(sku, 3, False)]


def test_putting_a_sku_again_changes_it_and_does_not_add_to_it(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku()
    put(services, user, sku, 3, selected=True)
    put(services, user, sku, 2, selected=False)
    assert cart(services, user) == [(sku, 2, False)]


def test_a_cart_is_its_users_own(services: Services) -> None:
    one, other, sku = services.new_user(), services.new_user(), services.new_sku()
    put(services, one, sku, 3)
    assert cart(services, other) == []

    services.order.DeleteCartItems(pb.DeleteCartItemsRequest(user_id=other, skus=[sku]))
    assert cart(services, one) == [(sku, 3, True)]


def test_what_is_not_in_the_price_book_can_not_be_put(services: Services) -> None:
    user = services.new_user()
    error = rpc_error(lambda: put(services, user, "nothing like it", 1))
    assert (error.reason, error.subjects) == ("SKU_NOT_FOUND", ["nothing like it"])
    assert cart(services, user) == []


def test_items_are_taken_out_and_those_that_are_not_in_it_passed_over(services: Services) -> None:
    user, skus = services.new_user(), [services.new_sku() for _ in range(3)]
    for sku in skus:
        put(services, user, sku, 1)

    for _ in range(2):
        services.order.DeleteCartItems(pb.DeleteCartItemsRequest(user_id=user, skus=[skus[0], "never", skus[2]]))

    assert cart(services, user) == [(skus[1], 1, True)]


def test_a_cart_is_listed_by_sku_in_pages_that_do_not_move(services: Services) -> None:
    user = services.new_user()
    skus = sorted(services.new_sku() for _ in range(5))
    for sku in (skus[3], skus[1], skus[4]):
        put(services, user, sku, 1)

    first = services.order.ListCartItems(pb.ListCartItemsRequest(user_id=user, page_size=2))
    for sku in (skus[0], skus[2]):
        put(services, user, sku, 1)
    rest = services.order.ListCartItems(
        pb.ListCartItemsRequest(user_id=user, page_size=2, page_token=first.next_page_token)
    )

    assert [item.sku for item in first.items] == [skus[1], skus[3]]
    assert [item.sku for item in rest.items] == [skus[4]]
    assert rest.next_page_token == ""
    assert [sku for sku, *_ in cart(services, user)] == skus


def test_an_order_without_lines_buys_what_is_selected_and_takes_exactly_that_out(services: Services) -> None:
    user = services.new_user()
    bought, also_bought, left = (services.new_sku(10, 100) for _ in range(3))
    put(services, user, bought, 2)
    put(services, user, also_bought, 1)
    put(services, user, left, 5, selected=False)

    order = services.create(user, {})

    assert {line.sku: line.quantity for line in order.lines} == {bought: 2, also_bought: 1}
    assert order.total_cents == 300
    assert cart(services, user) == [(left, 5, False)]


def test_an_order_with_lines_leaves_the_cart_alone(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku()
    put(services, user, sku, 2)
    services.create(user, {sku: 2})
    assert cart(services, user) == [(sku, 2, True)]


def test_a_repeat_gives_the_order_though_the_cart_is_empty_by_then(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku()
    put(services, user, sku, 2)
    first = services.create(user, {}, request_id="again")
    assert services.create(user, {}, request_id="again") == first
    assert len(services.orders_of(user)) == 1


def test_nothing_selected_is_told(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku()
    put(services, user, sku, 2, selected=False)

    error = rpc_error(lambda: services.create(user, {}))

    assert error.reason == "NOTHING_SELECTED"
    assert cart(services, user) == [(sku, 2, False)]
    assert services.orders_of(user) == []


def test_a_hundred_items_are_one_order_and_more_are_too_many(services: Services) -> None:
    user = services.new_user()
    skus = sorted(services.new_sku(1, 1) for _ in range(101))
    for sku in skus:
        put(services, user, sku, 1)

    error = rpc_error(lambda: services.create(user, {}))
    assert error.reason == "TOO_MANY_LINES"
    assert len(cart(services, user)) == 101

    put(services, user, skus[0], 1, selected=False)
    order = services.create(user, {})
    assert [line.sku for line in order.lines] == skus[1:]
    assert cart(services, user) == [(skus[0], 1, False)]


def test_an_order_that_is_refused_leaves_the_cart_as_it_was(services: Services) -> None:
    user, enough, short = services.new_user(), services.new_sku(10), services.new_sku(1)
    put(services, user, enough, 2)
    put(services, user, short, 2)
    before = cart(services, user)

    assert rpc_error(lambda: services.create(user, {})).reason == "NO_STOCK"
    assert rpc_error(lambda: services.create(user, {}, expected_total_cents=1)).reason == "PRICE_CHANGED"

    assert cart(services, user) == before
    assert services.available(enough) == 10


@pytest.mark.parametrize("quantity", [1, 2, 2**31 - 1])
def test_the_price_and_not_the_cart_decides_what_it_costs(services: Services, quantity: int) -> None:
    user, sku = services.new_user(), services.new_sku(2**31 - 1, 3)
    put(services, user, sku, quantity)
    services.put_goods(sku, 4)
    assert services.create(user, {}).total_cents == 4 * quantity
