"""Every step of every kind of life, oldest first."""

import pytest

from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services

MADE = ["CREATED", "SOLD", "TIMEOUT_SET"]


def timeline(services: Services, order: pb.Order, **more: object) -> pb.GetOrderTimelineResponse:
    return services.order.GetOrderTimeline(pb.GetOrderTimelineRequest(order_sn=order.order_sn, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (resting_orders.unpaid, MADE),
        (resting_orders.paid, [*MADE, "PAID"]),
        (resting_orders.finished, [*MADE, "PAID", "FINISHED"]),
        (resting_orders.cancelled, [*MADE, "CLOSED", "STOCK_RETURNED"]),
        (resting_orders.refunded, [*MADE, "PAID", "CLOSED", "REFUND_DUE", "STOCK_RETURNED"]),
        (resting_orders.failed, ["CREATED", "FAILED"]),
    ],
)
def test_the_steps_of_a_life(services: Services, make: resting_orders.Make, steps: list[str]) -> None:
    order = make(services)
    services.wait_for_step(order.order_sn, steps[-1])
    assert services.own_steps(order.order_sn) == steps


def test_each_step_has_its_time_and_what_a_person_wants_to_know(services: Services) -> None:
    order = resting_orders.paid(services)
    resting_orders.refund(services, order, "arrived broken")
    payment_id = order.payments[0].payment_id
    services.order.MarkRefunded(pb.MarkRefundedRequest(payment_id=payment_id, refund_id="r1"))
    services.wait_for_step(order.order_sn, "STOCK_RETURNED")

    events = timeline(services, order).events

    details = {pb.OrderEventKind.Name(event.kind).removeprefix("ORDER_EVENT_KIND_"): event.detail for event in events}
    assert details == {
        "CREATED": "",
        "SOLD": "",
        "TIMEOUT_SET": order.expire_time.ToJsonString().replace("Z", "+00:00"),
        "PAID": payment_id,
        "CLOSED": "REFUND: arrived broken",
        "REFUND_DUE": payment_id,
        "REFUNDED": payment_id,
        "STOCK_RETURNED": "",
    }
    times = [event.time.ToNanoseconds() for event in events]
    assert times == sorted(times)
    assert events[0].time == order.create_time


def test_a_refused_order_tells_its_reason(services: Services) -> None:
    assert timeline(services, resting_orders.failed(services)).events[-1].detail == "NO_STOCK"


def test_a_timeline_comes_in_pages(services: Services) -> None:
    order = resting_orders.finished(services)
    whole = list(timeline(services, order).events)

    pages, token = [], ""
    while True:
        page = timeline(services, order, page_size=2, page_token=token)
        pages.append(list(page.events))
        token = page.next_page_token
        if not token:
            break

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [event for page in pages for event in page] == whole


def test_a_step_that_is_taken_meanwhile_comes_on_a_later_page(services: Services) -> None:
    order = resting_orders.unpaid(services)
    first = timeline(services, order, page_size=2)
    services.pay(order)
    rest = timeline(services, order, page_token=first.next_page_token)
    assert [event.kind for event in rest.events] == [pb.ORDER_EVENT_KIND_TIMEOUT_SET, pb.ORDER_EVENT_KIND_PAID]


def test_an_order_that_nobody_knows_has_no_timeline(services: Services) -> None:
    error = rpc_error(lambda: timeline(services, pb.Order(order_sn="nobody's")))
    assert (error.reason, error.metadata) == ("ORDER_NOT_FOUND", {"order_sn": "nobody's"})
