"""Every RPC as its comment says, over real gRPC; and the service as a whole: start, drain, its broker's topic."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker, Message
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Reback, WorkingSet
from inventory_srv.entrypoints.consumers import GROUP, TOPIC
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import RunningService, running_service, sell_request
from tests.component.inventory.shop import Hold
from tests.support.waiting import TIMEOUT_S, wait_until


def test_set_and_adjust_answer_the_stock_and_repeats_the_first_answer(running: RunningService) -> None:
    before = datetime.now(UTC)
    request = pb.SetStockRequest(request_id="r1", sku="tea", quantity=5, reason="counted")

    stock = running.stub.SetStock(request)
    adjusted = running.stub.AdjustStock(pb.AdjustStockRequest(request_id="r2", sku="tea", delta=-2, reason="broken"))

    assert (stock.sku, stock.available, stock.sold, stock.version) == ("tea", 5, 0, 1)
    assert before <= stock.update_time.ToDatetime(tzinfo=UTC) <= datetime.now(UTC)
    assert (adjusted.available, adjusted.version) == (3, 2)
    assert running.stub.SetStock(request) == stock
    assert running.stub.GetStock(pb.GetStockRequest(sku="tea")) == adjusted


def test_set_stock_without_a_request_id_is_a_new_change_each_time(running: RunningService) -> None:
    for _ in range(2):
        running.stub.SetStock(pb.SetStockRequest(sku="tea", quantity=5))

    movements = running.stub.ListMovements(pb.ListMovementsRequest(sku="tea")).movements
    assert [movement.delta for movement in movements] == [0, 5]


def test_set_stock_at_the_expected_version_is_made(running: RunningService) -> None:
    running.stub.SetStock(pb.SetStockRequest(sku="tea", quantity=5, expected_version=0))

    stock = running.stub.SetStock(pb.SetStockRequest(sku="tea", quantity=6, expected_version=1))

    assert (stock.available, stock.version) == (6, 2)


def test_sell_answers_the_sale_and_reback_the_sale_as_it_is_then(running: RunningService) -> None:
    running.stock_up(tea=5, mug=5)

    sold = running.sell("o1", {"tea": 2, "mug": 1})
    returned = running.reback("o1", "close")

    assert (sold.order_sn, sold.state) == ("o1", pb.SALE_STATE_SOLD)
    assert [(line.sku, line.quantity) for line in sold.lines] == [("mug", 1), ("tea", 2)]
    assert not sold.HasField("return_time")
    assert sold.return_reason == ""
    assert (returned.state, returned.return_reason) == (pb.SALE_STATE_RETURNED, "close")
    assert (returned.lines, returned.create_time) == (sold.lines, sold.create_time)
    assert returned.return_time.ToDatetime() >= returned.create_time.ToDatetime()
    assert running.stub.GetSale(pb.GetSaleRequest(order_sn="o1")) == returned


def test_reback_without_a_sale_answers_the_tombstone(running: RunningService) -> None:
    tombstone = running.reback("o1", "create")

    assert (tombstone.state, list(tombstone.lines)) == (pb.SALE_STATE_RETURNED, [])
    assert tombstone.return_time == tombstone.create_time
    assert running.stub.BatchGetSales(pb.BatchGetSalesRequest(order_sns=["who", "o1"])).sales == [tombstone]


def test_lists_answer_what_is_there(running: RunningService) -> None:
    running.stock_up(tea=5, teapot=1, mug=5)
    running.sell("o1", {"tea": 2})
    running.reback("o1", "refund")
    running.sell("o2", {"mug": 1})

    stocks = running.stub.ListStocks(pb.ListStocksRequest(sku_prefix="tea")).stocks
    both = running.stub.BatchGetStocks(pb.BatchGetStocksRequest(skus=["teapot", "tea"])).stocks
    sold = running.stub.ListSales(pb.ListSalesRequest(state=pb.SALE_STATE_SOLD)).sales
    moved = running.stub.ListMovements(pb.ListMovementsRequest(order_sn="o1")).movements
    before = running.stub.ListSales(pb.ListSalesRequest(created_before=sold[0].create_time)).sales

    assert [stock.sku for stock in stocks] == ["tea", "teapot"]
    assert [stock.sku for stock in both] == ["teapot", "tea"]
    assert [sale.order_sn for sale in sold] == ["o2"]
    assert [sale.order_sn for sale in before] == ["o1"]
    kinds = [(movement.kind, movement.delta, movement.available_after, movement.reason) for movement in moved]
    assert kinds == [(pb.MOVEMENT_KIND_REBACK, 2, 5, "refund"), (pb.MOVEMENT_KIND_SELL, -2, 3, "")]
    assert {(movement.order_sn, movement.request_id) for movement in moved} == {("o1", "")}


def test_the_audit_answers_what_differs(running: RunningService) -> None:
    running.stock_up(tea=5, mug=5)
    database = running.service.database
    database.write(lambda: database.engine.execute_sql("UPDATE stock SET available = 4 WHERE sku = 'tea'"))

    page = running.stub.AuditStock(pb.AuditStockRequest())

    assert page.skus_checked == 2
    assert page.differences == [pb.StockDifference(sku="tea", available=4, available_by_movements=5)]


def test_what_was_accepted_is_finished_when_the_service_stops(tmp_path: Path, hold: Hold) -> None:
    with running_service(tmp_path, crash_hook=hold.crash_hook) as running:
        running.stock_up(tea=5)
        hold.arm(CrashPoint.BATCH_TAKEN)
        calls = [running.stub.Sell.future(sell_request("o0", {"tea": 1}), timeout=TIMEOUT_S)]
        hold.wait()
        calls += [running.stub.Sell.future(sell_request(f"o{n}", {"tea": 1}), timeout=TIMEOUT_S) for n in (1, 2)]
        wait_until(lambda: len(running.service.writer._queue) == 2, "both are in the queue")
        stopping = threading.Thread(target=running.service.stop)
        stopping.start()
        hold.let_go()

        assert [call.result(TIMEOUT_S).state for call in calls] == [pb.SALE_STATE_SOLD] * 3
        stopping.join(TIMEOUT_S)
        assert not stopping.is_alive()

    with running_service(tmp_path) as again:
        assert again.units("tea") == (2, 3)


@pytest.fixture
def sender(running: RunningService) -> Iterator[Broker]:
    broker = open_broker(f"embedded:///{running.folder}/broker.db", topic_prefix="", clock=SystemClock())
    yield broker
    broker.close()


def reback_message(*order_sns: str, cause: str = "cancel") -> Message:
    orders = [{"order_sn": order_sn} for order_sn in order_sns]
    body = {"cause": cause, "sent_time": "2026-01-01T00:00:00Z", "orders": orders}
    return Message(TOPIC, order_sns[0], json.dumps(body).encode())


@pytest.mark.parametrize("cause", ["create", "timeout", "cancel", "refund"])
def test_a_message_gives_the_stock_of_its_orders_back_with_its_cause_as_reason(
    running: RunningService, sender: Broker, cause: str
) -> None:
    running.stock_up(tea=5, mug=5)
    running.sell("o1", {"tea": 2})
    running.sell("o2", {"tea": 1, "mug": 3})
    running.sell("stays", {"mug": 1})

    sender.publish(reback_message("o1", "never sold", "o2", cause=cause))

    wait_until(lambda: running.units("tea") == (5, 0), "the stock is back")
    assert running.units("mug") == (4, 1)
    asked = pb.BatchGetSalesRequest(order_sns=["o1", "o2", "never sold"])
    assert [sale.return_reason for sale in running.stub.BatchGetSales(asked).sales] == [cause] * 3


def test_the_rebacks_of_a_message_are_merged(running: RunningService, sender: Broker, hold: Hold) -> None:
    running.stock_up(tea=50)
    order_sns = [f"o{n}" for n in range(40)]
    running.stub.BatchSell(pb.BatchSellRequest(sells=[sell_request(order_sn, {"tea": 1}) for order_sn in order_sns]))
    hold.times.clear()

    sender.publish(reback_message(*order_sns))

    wait_until(lambda: hold.times[CrashPoint.REBACK_DONE] == 1, "the message is handled")
    assert hold.times[CrashPoint.BATCH_COMMITTED] == 1
    assert running.units("tea") == (50, 0)


def test_one_order_that_can_t_be_given_back_keeps_no_other_and_is_tried_again(
    running: RunningService, sender: Broker, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.stock_up(tea=5)
    for order_sn in ("o1", "poison", "o2"):
        running.sell(order_sn, {"tea": 1})
    as_it_is = WorkingSet.apply
    mended = threading.Event()

    def apply_with_a_bug(working_set: WorkingSet, change: Any, now: Any) -> Any:
        if not mended.is_set() and isinstance(change, Reback) and change.order_sn == "poison":
            raise ZeroDivisionError("a bug")
        return as_it_is(working_set, change, now)

    monkeypatch.setattr(WorkingSet, "apply", apply_with_a_bug)
    sender.publish(reback_message("o1", "poison", "o2"))

    wait_until(lambda: running.units("tea") == (4, 1), "the others are back")
    assert hold.times[CrashPoint.REBACK_DONE] == 0
    mended.set()
    wait_until(lambda: running.units("tea") == (5, 0), "all are back")
    assert len(running.stub.ListMovements(pb.ListMovementsRequest(order_sn="o1")).movements) == 2
    assert running.differences() == []


def test_pitfall_06_one_message_delivered_100_times_returns_once(running: RunningService, sender: Broker) -> None:
    running.stock_up(tea=5)
    running.sell("o1", {"tea": 2})

    for _ in range(100):
        sender.publish(reback_message("o1"))
    sender.publish(reback_message("last"))

    wait_until(lambda: len(running.stub.ListSales(pb.ListSalesRequest()).sales) == 2, "the last message is handled")
    wait_until(lambda: running.units("tea") == (5, 0), "the stock is back")
    assert len(running.stub.ListMovements(pb.ListMovementsRequest(order_sn="o1")).movements) == 2
    assert running.differences() == []


def test_pitfall_06_a_message_before_its_sell_refuses_it(running: RunningService, sender: Broker) -> None:
    running.stock_up(tea=5)
    sender.publish(reback_message("o1"))
    wait_until(lambda: len(running.stub.ListSales(pb.ListSalesRequest()).sales) == 1, "the tombstone is written")

    with pytest.raises(grpc.RpcError, match="given back"):
        running.sell("o1", {"tea": 2})

    assert running.units("tea") == (5, 0)


def test_a_message_that_cannot_be_read_becomes_a_dead_letter_and_stops_nobody(tmp_path: Path) -> None:
    url = f"embedded:///{tmp_path}/quick.db?tries=2&retry_after=0.01"
    with running_service(tmp_path, {"broker_url": url}) as running:
        sender = open_broker(url, topic_prefix="", clock=SystemClock())
        running.stock_up(tea=5)
        running.sell("o1", {"tea": 2})
        unreadable = b'{"cause": "cancel", "orders": [{"order_sn": "o1"}, {"order": "o2"}]}'
        sender.publish(Message(TOPIC, "o1", unreadable))
        sender.publish(reback_message("o1"))

        wait_until(lambda: running.units("tea") == (5, 0), "the next message is handled")
        wait_until(lambda: bool(sender.dead_letters(TOPIC, GROUP)), "the unreadable one is a dead letter")
        letter = sender.dead_letters(TOPIC, GROUP)[0]
        assert (letter.message.body, letter.attempts) == (unreadable, 2)
        assert "orders[1].order_sn" in letter.error
        sender.close()
