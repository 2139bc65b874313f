"""The price book over real gRPC."""

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from reback.order.v1 import order_pb2 as pb
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services


def goods_in_pages(services: Services, page_size: int) -> list[list[str]]:
    pages, token = [], ""
    while True:
        page = services.order.ListGoods(pb.ListGoodsRequest(page_size=page_size, page_token=token))
        pages.append([goods.sku for goods in page.goods])
        token = page.next_page_token
        if not token:
            return pages


def batch_get(services: Services, *skus: str) -> list[pb.Goods]:
    return list(services.order.BatchGetGoods(pb.BatchGetGoodsRequest(skus=skus)).goods)


def delete(services: Services, sku: str) -> None:
    services.order.DeleteGoods(pb.DeleteGoodsRequest(sku=sku))


def listed(services: Services) -> list[str]:
    return [sku for page in goods_in_pages(services, 1000) for sku in page]


def test_goods_are_as_they_were_put(services: Services) -> None:
    put = services.put_goods("tea", 250, name="Tee 🍵", image_url="https://example.org/tea.png", currency="JPY")

    assert batch_get(services, "tea") == [put]
    assert (put.sku, put.name, put.image_url) == ("tea", "Tee 🍵", "https://example.org/tea.png")
    assert (put.price_cents, put.currency, put.on_sale) == (250, "JPY", True)
    assert put.create_time == put.update_time
    assert put.create_time.seconds > 0


def test_putting_goods_again_replaces_all_but_when_they_were_created(services: Services) -> None:
    first = services.put_goods("cup", 250, image_url="https://example.org/cup.png")
    again = services.put_goods("cup", None, name="Cup", currency="USD", on_sale=False)

    assert batch_get(services, "cup") == [again]
    assert (again.name, again.image_url, again.currency, again.on_sale) == ("Cup", "", "USD", False)
    assert not again.HasField("price_cents")
    assert again.create_time == first.create_time
    assert again.update_time.ToNanoseconds() > first.update_time.ToNanoseconds()


def test_goods_without_a_price_are_not_goods_for_nothing(services: Services) -> None:
    services.put_goods("free", 0)
    services.put_goods("unpriced", None)

    free, unpriced = batch_get(services, "free", "unpriced")
    assert free.HasField("price_cents")
    assert not unpriced.HasField("price_cents")


def test_the_times_of_goods_are_not_the_callers_to_set(services: Services) -> None:
    long_ago = Timestamp(seconds=1)
    put = services.put_goods("clock", 1, create_time=long_ago, update_time=long_ago)
    assert put.create_time.seconds > 1_000_000_000
    assert put.update_time.seconds > 1_000_000_000


def test_many_goods_come_in_the_order_asked_also_twice(services: Services) -> None:
    for sku in ("m1", "m2", "m3"):
        services.put_goods(sku)
    assert [goods.sku for goods in batch_get(services, "m3", "m1", "m2", "m1")] == ["m3", "m1", "m2", "m1"]


def test_every_missing_sku_is_named(services: Services) -> None:
    services.put_goods("there")
    error = rpc_error(lambda: batch_get(services, "gone1", "there", "gone2", "gone1"))
    assert (error.reason, error.subjects) == ("SKU_NOT_FOUND", ["gone1", "gone2"])


def test_skus_are_compared_byte_by_byte(services: Services) -> None:
    skus = ["Tee-a", "tee-a", "tee-A", "tée-a", "te\u0301e-a", "tee-a ", "tee-😀", "tee-\uffff"]
    for sku in skus:
        services.put_goods(sku, name=f"name of {sku}")

    assert [goods.name for goods in batch_get(services, *skus)] == [f"name of {sku}" for sku in skus]
    here = [sku for sku in listed(services) if sku in skus]
    assert here == sorted(skus, key=lambda sku: sku.encode())


@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_the_price_book_is_listed_by_sku_in_pages(services: Services, page_size: int) -> None:
    for number in range(7):
        services.put_goods(f"page-{number}")

    pages = goods_in_pages(services, page_size)
    skus = [sku for page in pages for sku in page]
    assert skus == sorted(skus, key=lambda sku: sku.encode())
    assert len(set(skus)) == len(skus)
    assert {f"page-{number}" for number in range(7)} <= set(skus)
    assert all(len(page) == page_size for page in pages[:-1])


def test_a_page_is_not_moved_by_what_is_put_meanwhile(services: Services) -> None:
    for number in (1, 3, 5):
        services.put_goods(f"!still-{number}")
    first = services.order.ListGoods(pb.ListGoodsRequest(page_size=2))
    services.put_goods("!still-0")
    services.put_goods("!still-4")

    rest = services.order.ListGoods(pb.ListGoodsRequest(page_size=2, page_token=first.next_page_token))

    assert [goods.sku for goods in first.goods] == ["!still-1", "!still-3"]
    assert [goods.sku for goods in rest.goods] == ["!still-4", "!still-5"]
    for number in (0, 1, 3, 4, 5):
        delete(services, f"!still-{number}")


def test_a_page_has_fifty_goods_when_nobody_says_otherwise(services: Services) -> None:
    for number in range(51):
        services.put_goods(f"fifty-{number}")
    assert len(services.order.ListGoods(pb.ListGoodsRequest()).goods) == 50


def test_deleted_goods_are_neither_listed_nor_found_nor_ordered(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(5)
    services.order.PutCartItem(pb.PutCartItemRequest(user_id=user, sku=sku, quantity=1, selected=True))

    delete(services, sku)

    assert sku not in listed(services)
    assert rpc_error(lambda: batch_get(services, sku)).subjects == [sku]
    by_name, from_cart = (
        rpc_error(lambda: services.create(user, {sku: 1})),
        rpc_error(lambda: services.create(user, {})),
    )
    assert (by_name.reason, by_name.subjects) == ("GOODS_UNAVAILABLE", [sku])
    assert (from_cart.reason, from_cart.subjects) == ("GOODS_UNAVAILABLE", [sku])
    again = rpc_error(lambda: services.order.PutCartItem(pb.PutCartItemRequest(user_id=user, sku=sku, quantity=2)))
    assert again.reason == "SKU_NOT_FOUND"
    assert services.available(sku) == 5


def test_deleting_goods_again_or_goods_that_never_were_is_harmless(services: Services) -> None:
    sku = services.new_sku(5)
    for _ in range(2):
        delete(services, sku)
    delete(services, "never was")


def test_deleted_goods_come_back_when_they_are_put(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(5, 100)
    created = batch_get(services, sku)[0].create_time
    delete(services, sku)

    back = services.put_goods(sku, 120)

    assert batch_get(services, sku) == [back]
    assert back.create_time == created
    assert sku in listed(services)
    assert services.create(user, {sku: 1}).total_cents == 120


def test_orders_keep_what_they_bought_at_the_price_of_the_moment(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(5, 100, name="as it was")
    order = services.create(user, {sku: 2})

    services.put_goods(sku, 999, name="renamed")
    assert services.get(order) == order
    delete(services, sku)
    assert services.get(order) == order

    line = order.lines[0]
    assert (line.sku, line.name, line.price_cents, line.quantity) == (sku, "as it was", 100, 2)
    paid = services.pay(order)
    assert paid.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
