"""The embedded broker's writer: merging, one bad row among many, a file that is locked or full, forks."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from common.messaging.embedded.schema import begin_session, connect
from common.messaging.embedded.store import LeaseTerms, Store
from common.messaging.embedded.writer import Write, Writer
from common.messaging.port import BrokerUnavailable, Message, Resolution
from tests.contract.messaging.embedded_files import Open, rows
from tests.contract.messaging.harness import Received
from tests.support.waiting import wait_until

SECOND = 1_000_000


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the file's write lock, as another process would."""
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def keep_waiting(writer: Writer) -> list[str]:
    """Give the writer what it can't finish while the file is locked; all that comes after it stays in its queue.

    Returns:
        The statements that it executes from now on.
    """
    statements: list[str] = []
    assert writer._store is not None
    writer._store.connection.set_trace_callback(statements.append)
    writer.put(Write(lambda _store, _rows: None, ()))
    wait_until(lambda: "BEGIN IMMEDIATE" in statements, "the writer to wait for the file")
    return statements


def test_what_waits_is_written_in_one_transaction(file: Path, open_broker: Open) -> None:
    broker = open_broker(busy_timeout=60)
    broker.publish(Message("topic", "first", b""))

    with ThreadPoolExecutor(50) as threads:
        with locked(file):
            statements = keep_waiting(broker._writer)
            sent = [threads.submit(broker.publish, Message("topic", str(number), b"")) for number in range(50)]
            wait_until(lambda: broker._writer._waiting.qsize() == 50, "waiting writers")
        for future in sent:
            future.result()

    assert statements.count("COMMIT") == 2
    assert len(rows(file, "SELECT * FROM entries")) == 51


def test_one_bad_message_does_not_harm_those_merged_with_it(file: Path, open_broker: Open) -> None:
    broker = open_broker(busy_timeout=60)
    broker.publish(Message("topic", "first", b""))
    keys = [str(number) for number in range(20)] + ["\ud800 is no text"]

    with ThreadPoolExecutor(len(keys)) as threads:
        with locked(file):
            keep_waiting(broker._writer)
            sent = [threads.submit(broker.publish, Message("topic", key, b"")) for key in keys]
            wait_until(lambda: broker._writer._waiting.qsize() == len(keys), "waiting writers")
        for future in sent[:-1]:
            future.result()
        with pytest.raises(UnicodeEncodeError):
            sent[-1].result()

    assert sorted(str(key) for (key,) in rows(file, "SELECT key FROM entries")) == sorted(["first", *keys[:-1]])


def test_file_locked_for_too_long_is_unavailable_and_then_comes_back(file: Path, open_broker: Open) -> None:
    broker = open_broker(busy_timeout=0.2)
    decided: list[str] = []

    def decide() -> Resolution:
        decided.append("called")
        return Resolution.COMMIT

    broker.publish(Message("topic", "first", b""))

    with locked(file):
        with pytest.raises(BrokerUnavailable, match="locked"):
            broker.publish(Message("topic", "lost", b""))
        with pytest.raises(BrokerUnavailable, match="locked"):
            broker.in_transaction(Message("topic", "lost", b""), decide)
        with pytest.raises(BrokerUnavailable, match="locked"):
            open_broker(busy_timeout=0.2).publish(Message("topic", "lost", b""))
    broker.publish(Message("topic", "second", b""))

    assert decided == []
    assert rows(file, "SELECT key FROM entries ORDER BY key") == [("first",), ("second",)]


def test_resolution_that_cannot_be_written_is_no_error_and_a_check_back_asks_for_it(
    file: Path, open_broker: Open
) -> None:
    broker, received = open_broker(busy_timeout=0.1, check_after=0.3), Received()
    broker.subscribe("topic", "inventory", received)
    broker.answer_check_backs("topic", lambda _: Resolution.COMMIT)
    broker.start()
    lock = locked(file)

    def decide() -> Resolution:
        lock.__enter__()
        return Resolution.COMMIT

    assert broker.in_transaction(Message("topic", "order-1", b""), decide) is Resolution.COMMIT
    wait_until(broker._writer._waiting.empty, "the writer to have tried")
    lock.__exit__(None, None, None)

    received.wait_for("order-1")


def test_short_lock_is_waited_for(file: Path, open_broker: Open) -> None:
    broker = open_broker()
    broker.publish(Message("topic", "first", b""))

    with ThreadPoolExecutor(1) as threads:
        with locked(file):
            sent = threads.submit(broker.publish, Message("topic", "second", b""))
            time.sleep(0.05)
            assert not sent.done()
        sent.result(timeout=30)


FULL_DISK = """
import resource, sys
from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import BrokerUnavailable, Message

broker = open_broker(sys.argv[1], topic_prefix="", clock=SystemClock())
broker.publish(Message("topic", "before", b""))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
try:
    for number in range(100):
        broker.publish(Message("topic", str(number), bytes(20_000)))
except BrokerUnavailable as error:
    print("unavailable", flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
broker.publish(Message("topic", "after", b""))
broker.close()
print("ended", number)
"""


def test_full_disk_is_unavailable_and_loses_nothing(file: Path) -> None:
    program = [sys.executable, "-c", FULL_DISK, f"embedded:///{file}"]

    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)

    unavailable, ended = done.stdout.strip().splitlines()[-2:]
    assert unavailable == "unavailable"
    taken = [str(number) for number in range(int(ended.removeprefix("ended ")))]
    kept = {key for (key,) in rows(file, "SELECT key FROM entries")}
    assert kept >= {"before", "after", *taken}
    assert rows(file, "PRAGMA integrity_check") == [("ok",)]


FORK = """
import os, sys
from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import BrokerUnavailable, Message

used, unused = (open_broker(sys.argv[1], topic_prefix="", clock=SystemClock()) for _ in range(2))
used.publish(Message("topic", "parent", b""))
child = os.fork()
if child:
    os.waitpid(child, 0)
    used.publish(Message("topic", "parent again", b""))
else:
    unused.publish(Message("topic", "child", b""))
    try:
        used.publish(Message("topic", "never", b""))
    except BrokerUnavailable as error:
        print(error, flush=True)
    os._exit(0)
"""


def test_broker_used_before_a_fork_refuses_to_work_after_it(file: Path) -> None:
    program = [sys.executable, "-c", FORK, f"embedded:///{file}"]

    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=True)

    assert "fork" in done.stdout
    keys = rows(file, "SELECT key FROM entries ORDER BY key")
    assert keys == [("child",), ("parent",), ("parent again",)]


def test_many_processes_may_make_the_file_at_once(file: Path) -> None:
    program = (
        "import sys\n"
        "from common.clock import SystemClock\n"
        "from common.messaging.drivers import open_broker\n"
        "from common.messaging.port import Message\n"
        "sys.stdin.read()\n"
        "broker = open_broker(sys.argv[1], topic_prefix='', clock=SystemClock())\n"
        "broker.publish(Message('topic', 'key', b''))\n"
        "broker.close()\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program, f"embedded:///{file}"], stdin=subprocess.PIPE)
        for _ in range(4)
    ]

    for process in processes:
        assert process.stdin is not None
        process.stdin.close()

    assert [process.wait(60) for process in processes] == [0] * 4
    assert len(rows(file, "SELECT DISTINCT id FROM entries")) == 4


def test_token_of_a_lost_lease_changes_nothing(file: Path) -> None:
    with closing(connect(file)) as connection:
        store = Store(connection, begin_session(connection))
        queue = store.join([("topic", "order", 0)])[0]
        store.publish([("topic", "order-1", b"", 0, True)])
        (first,) = store.lease(queue, 8, LeaseTerms(now=1, monotonic_now=SECOND, length=SECOND, tries=16))
        assert store.lease(queue, 8, LeaseTerms(now=1, monotonic_now=SECOND + 1, length=SECOND, tries=16)) == []
        (second,) = store.lease(queue, 8, LeaseTerms(now=1, monotonic_now=2 * SECOND, length=SECOND, tries=16))
        owned = rows(file, "SELECT * FROM entries")

        assert store.acknowledge([(first.id, queue, first.token)]) == 0
        store.release([(99, 1, first.id, queue, first.token)])
        store.renew([(99 * SECOND, first.id, queue, first.token)])
        store.make_dead_letters([("error", 1, first.id, queue, first.token)])

        assert rows(file, "SELECT * FROM entries") == owned
        assert rows(file, "SELECT * FROM dead_letters") == []
        assert (first.attempt, second.attempt) == (1, 2)
        assert store.acknowledge([(second.id, queue, second.token)]) == 1
