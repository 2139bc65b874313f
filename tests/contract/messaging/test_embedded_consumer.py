"""The embedded broker's consumers: the clock port, leases, what it costs to be idle."""

import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from threading import Event

import psutil
import pytest
import structlog

from common.messaging.embedded.consumer import Consumer
from common.messaging.embedded.schema import connect
from common.messaging.embedded.store import LeasedEntry, Store
from common.messaging.embedded.writer import Write, Writer
from common.messaging.port import Delivery, Message, Resolution
from tests.contract.messaging.embedded_files import Open, rows
from tests.contract.messaging.harness import Database, Received
from tests.support.manual_clock import ManualClock
from tests.support.waiting import wait_until


def test_delay_follows_the_clock_port(open_broker: Open) -> None:
    clock, received = ManualClock(), Received()
    broker = open_broker(clock)
    broker.subscribe("topic", "order", received)
    broker.start()

    broker.publish_later(Message("topic", "in two days", b""), timedelta(days=2))
    broker.publish_later(Message("topic", "tomorrow", b""), timedelta(days=1))
    clock.advance(timedelta(hours=24, seconds=1))
    received.wait_for("tomorrow")
    assert received.keys == {"tomorrow": 1}
    clock.advance(timedelta(days=1))

    received.wait_for("in two days")


def test_longest_possible_delay_is_accepted(open_broker: Open) -> None:
    open_broker().publish_later(Message("topic", "never", b""), timedelta.max)


def test_pauses_between_tries_follow_the_clock_port(open_broker: Open) -> None:
    def fail(delivery: Delivery) -> None:
        raise RuntimeError

    clock, received = ManualClock(), Received(fail)
    broker = open_broker(clock, tries=3)
    broker.subscribe("topic", "order", received)
    broker.start()
    broker.publish(Message("topic", "order-1", b""))

    received.wait_for("order-1")
    wait_until(lambda: broker._consumers[0].free == 8, "the first failure")
    clock.advance(timedelta(seconds=1))
    received.wait_for("order-1", times=2)
    wait_until(lambda: broker._consumers[0].free == 8, "the second failure")
    clock.advance(timedelta(seconds=5))
    received.wait_for("order-1", times=3)

    wait_until(lambda: len(broker.dead_letters("topic", "order")) == 1, "a dead letter")


def test_running_handler_keeps_its_message_when_the_clock_jumps(open_broker: Open) -> None:
    clock, go_on = ManualClock(), Event()
    received = Received(lambda _: go_on.wait(60))
    broker = open_broker(clock, lease=1)
    broker.subscribe("topic", "order", received)
    broker.start()
    broker.publish(Message("topic", "order-1", b""))
    received.wait_for("order-1")

    clock.advance(timedelta(days=1))
    broker.publish(Message("topic", "order-2", b""))
    received.wait_for("order-2")
    go_on.set()

    assert received.keys == {"order-1": 1, "order-2": 1}


def test_lease_is_renewed_while_the_handler_runs(open_broker: Open) -> None:
    received, idle = Received(lambda _: time.sleep(2.5)), Received()
    broker, other = open_broker(lease=1), open_broker(lease=1)
    broker.subscribe("topic", "order", received)
    broker.start()
    broker.publish(Message("topic", "order-1", b""))
    received.wait_for("order-1")
    other.subscribe("topic", "order", idle)
    other.start()

    wait_until(lambda: broker._consumers[0].free == 8, "the handler to end")
    broker.publish(Message("topic", "order-2", b""))
    wait_until(lambda: "order-2" in received.keys + idle.keys, "the next message")

    assert received.keys["order-1"] + idle.keys["order-1"] == 1


def test_entry_that_was_leased_but_not_begun_is_released_at_once_and_no_attempt_counts(file: Path) -> None:
    writer, begun = Writer(file, busy_timeout=5), list[LeasedEntry]()
    queue = writer.write(Store.join, ("topic", "order", 0))
    writer.write(Store.publish, ("topic", "order-1", b"", 0, True))

    def begin(entry: LeasedEntry) -> Write:
        begun.append(entry)
        return Write(Store.acknowledge, (entry.id, entry.queue, entry.token))

    consumer = Consumer(
        topic="topic",
        consumers="order",
        threads=2,
        tries=16,
        lease=timedelta(seconds=10),
        now=lambda: 7,
        writer=writer,
        process=begin,
    )
    consumer.start(queue)
    with closing(connect(file)) as connection:
        assert consumer.lease(Store(connection, session=0))
    assert rows(file, "SELECT attempt, leased_until > 0 FROM entries") == [(1, 1)]

    consumer.stop_leasing()
    consumer.dispatch()
    consumer.wait()
    writer.close()

    assert begun == []
    assert rows(file, "SELECT attempt, leased_until, token FROM entries") == [(0, 0, 0)]


def test_check_backs_come_after_six_seconds_and_then_every_five(open_broker: Open) -> None:
    clock, database = ManualClock(), Database()
    broker = open_broker(clock)
    broker.answer_check_backs("topic", database.check)
    broker.start()
    broker.in_transaction(Message("topic", "order-1", b""), lambda: Resolution.UNKNOWN)

    def came_so_often(times: int) -> bool:
        return len(database.check_backs) >= times

    for seconds, check_backs in ((5.9, 0), (0.1, 1), (4.9, 1), (0.1, 2), (5, 3)):
        wait_until(lambda: broker._consumers[0].free == 4, "the last answer")
        clock.advance(timedelta(seconds=seconds))
        broker.publish(Message("other", "so that the broker looks", b""))
        wait_until(partial(came_so_often, check_backs), f"{check_backs} check-backs")
        assert len(database.check_backs) == check_backs


def test_checker_that_returns_nothing_drops_no_message(open_broker: Open) -> None:
    check_backs: list[str] = []

    def check(message: Message) -> Resolution:
        check_backs.append(message.key)
        return Resolution.COMMIT if len(check_backs) > 2 else None  # type: ignore[return-value] # the mistake

    received = Received()
    broker = open_broker(check_after=0, check_every=0)
    broker.subscribe("topic", "inventory", received)
    broker.answer_check_backs("topic", check)
    broker.start()

    broker.in_transaction(Message("topic", "order-1", b""), lambda: Resolution.UNKNOWN)

    received.wait_for("order-1")


def test_failure_of_a_handler_is_logged_in_one_line(open_broker: Open) -> None:
    def fail(delivery: Delivery) -> None:
        raise RuntimeError("no\nluck")

    broker, received = open_broker(), Received(fail)
    broker.subscribe("topic", "order", received)

    with structlog.testing.capture_logs() as lines:
        broker.start()
        broker.publish(Message("topic", "order-1", b""))
        wait_until(lambda: bool(lines), "a line")

    (line,) = lines
    assert line == {
        "event": "handler failed",
        "log_level": "warning",
        "topic": "topic",
        "key": "order-1",
        "attempt": 1,
        "error": "RuntimeError: no luck",
    }


def test_handler_that_ends_its_thread_is_called_again(open_broker: Open) -> None:
    def leave(delivery: Delivery) -> None:
        if delivery.attempt < 3:
            sys.exit(1)

    received = Received(leave)
    broker = open_broker(handlers=1, retry_after=0.01)
    broker.subscribe("topic", "order", received)
    broker.start()

    broker.publish(Message("topic", "order-1", b""))

    received.wait_for("order-1", times=3)


def test_wiring_mistakes_are_refused(open_broker: Open) -> None:
    broker, received = open_broker(), Received()
    broker.subscribe("topic", "order", received)
    with pytest.raises(ValueError, match="already"):
        broker.subscribe("topic", "order", received)
    for group in ("", "%check-back"):
        with pytest.raises(ValueError, match="group"):
            broker.subscribe("topic", group, received)
    broker.start()

    with pytest.raises(RuntimeError, match="before start"):
        broker.subscribe("other", "order", received)
    with pytest.raises(RuntimeError, match="started already"):
        broker.start()


IDLE = """
import sys, time
from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Resolution

broker = open_broker(sys.argv[1], topic_prefix="", clock=SystemClock())
broker.subscribe("order_timeout", "order", print)
broker.subscribe("order_reback", "inventory", print)
broker.answer_check_backs("order_reback", lambda message: Resolution.UNKNOWN)
broker.start()
print("ready", flush=True)
sys.stdin.read()
broker.close()
"""


def test_idle_broker_takes_under_two_percent_of_a_core(file: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", IDLE, f"embedded:///{file}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        before, began = psutil.Process(process.pid).cpu_times(), time.monotonic()
        time.sleep(3)  # what is measured, not waited for
        after, passed = psutil.Process(process.pid).cpu_times(), time.monotonic() - began
        assert process.stdin is not None
        process.stdin.close()

    assert (after.user + after.system - before.user - before.system) / passed < 0.02
