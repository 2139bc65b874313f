import json
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from common.messaging.port import Message
from order_srv.domain.messages import NamedOrder, Reback, Timeout, UnreadableMessage
from order_srv.domain.order_state import Cause

NOW: Final = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
TIME: Final = "2026-03-04T05:06:07.000089+00:00"
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

ORDERS: Final = (
    NamedOrder("sn"),
    NamedOrder("sn-2", 'changed my "mind" 😀'),
    NamedOrder("sn-3", traceparent=TRACE),
    NamedOrder("sn-4", "broken", TRACE),
)
AS_JSON: Final = [
    {"order_sn": "sn"},
    {"order_sn": "sn-2", "reason": 'changed my "mind" 😀'},
    {"order_sn": "sn-3", "traceparent": TRACE},
    {"order_sn": "sn-4", "reason": "broken", "traceparent": TRACE},
]

REBACK: Final[dict[str, Any]] = {"cause": "create", "sent_time": TIME, "orders": [{"order_sn": "sn"}]}
TIMEOUT: Final[dict[str, Any]] = {"expire_time": TIME, "orders": [{"order_sn": "sn"}]}


def read_reback(body: object) -> Reback:
    return Reback.from_message(Message("order_reback", "sn", json.dumps(body).encode()))


def read_timeout(body: object) -> Timeout:
    return Timeout.from_message(Message("order_timeout", "sn", json.dumps(body).encode()))


@pytest.mark.parametrize("orders", [ORDERS[:1], ORDERS])
@pytest.mark.parametrize("cause", Cause)
def test_a_reback_is_read_as_it_was_written(cause: Cause, orders: tuple[NamedOrder, ...]) -> None:
    reback = Reback(cause, NOW, orders)
    assert Reback.from_message(reback.to_message()) == reback


@pytest.mark.parametrize("orders", [ORDERS[:1], ORDERS])
def test_a_timeout_is_read_as_it_was_written(orders: tuple[NamedOrder, ...]) -> None:
    timeout = Timeout(NOW, orders)
    assert Timeout.from_message(timeout.to_message()) == timeout


@pytest.mark.parametrize("cause", Cause)
def test_a_reback_has_this_form(cause: Cause) -> None:
    message = Reback(cause, NOW, ORDERS).to_message()
    assert (message.topic, message.key) == ("order_reback", "sn")
    assert json.loads(message.body) == {"cause": cause.value, "sent_time": TIME, "orders": AS_JSON}


def test_a_timeout_has_this_form() -> None:
    message = Timeout(NOW, ORDERS).to_message()
    assert (message.topic, message.key) == ("order_timeout", "sn")
    assert json.loads(message.body) == {"expire_time": TIME, "orders": AS_JSON}


def test_fields_that_are_not_known_are_passed_over() -> None:
    more: dict[str, Any] = {
        "orders": [{"order_sn": "sn", "weight": 3}, {"order_sn": "sn-2", "reason": "late"}],
        "shop": [1],
    }
    orders = (NamedOrder("sn"), NamedOrder("sn-2", "late"))
    assert read_reback(REBACK | more) == Reback(Cause.CREATE, NOW, orders)
    assert read_timeout(TIMEOUT | more) == Timeout(NOW, orders)


NO_ORDERS: Final[list[Any]] = [None, [], {}, "sn", 7, ["sn"], [7], [["order_sn"]], [{}]]
NO_NAMES: Final[list[Any]] = ["", 7, None, ["sn"]]
UNKNOWN_ORDERS: Final[list[dict[str, Any]]] = [
    *({"orders": orders} for orders in NO_ORDERS),
    *({"orders": [{"order_sn": "sn-2"}, {"order_sn": name}]} for name in NO_NAMES),
    *({"orders": [{"order_sn": "sn", field: 7}]} for field in ("reason", "traceparent")),
]


@pytest.mark.parametrize(
    "body",
    [
        *({**REBACK, **orders} for orders in UNKNOWN_ORDERS),
        *({key: value for key, value in REBACK.items() if key != left_out} for left_out in REBACK),
        *({**REBACK, "cause": cause} for cause in ("gift", "close", "", None, 7)),
        *({**REBACK, "sent_time": time} for time in ("soon", "", None, 7)),
        {"order_sn": "sn", "cause": "create", "sent_time": TIME},  # a single order, not in a list
        *([], "sn", 7, None),
    ],
)
def test_a_reback_of_another_form_is_refused(body: object) -> None:
    with pytest.raises(UnreadableMessage, match="not an order_reback"):
        read_reback(body)


@pytest.mark.parametrize(
    "body",
    [
        *({**TIMEOUT, **orders} for orders in UNKNOWN_ORDERS),
        *({key: value for key, value in TIMEOUT.items() if key != left_out} for left_out in TIMEOUT),
        *({**TIMEOUT, "expire_time": time} for time in ("soon", "", None, 7)),
        {"order_sn": "sn", "expire_time": TIME},
        *([], "sn", 7, None),
    ],
)
def test_a_timeout_of_another_form_is_refused(body: object) -> None:
    with pytest.raises(UnreadableMessage, match="not an order_timeout"):
        read_timeout(body)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"cause": "create"'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        Reback.from_message(Message("order_reback", "sn", body))
    with pytest.raises(UnreadableMessage):
        Timeout.from_message(Message("order_timeout", "sn", body))
