"""The settings of a real broker: all that are checked exist, and a broker that would break a promise is refused."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from common.clock import SystemClock
from common.errors import UnusableEngine
from common.messaging.drivers import open_broker
from common.messaging.port import Resolution
from common.messaging.rocketmq.broker_settings import LEVELS, RECOMMENDED, REQUIRED, timer_rules
from common.messaging.rocketmq.proxy.url import RocketmqUrl
from common.messaging.rocketmq.remoting import broker_settings, connected, queues
from tests.support.engines import ROCKETMQ_NAMESERVER, ROCKETMQ_URL
from tests.support.rocketmq_topics import Topics

URL = f"{ROCKETMQ_URL}?nameserver={ROCKETMQ_NAMESERVER}"
WRONG = {"transactionCheckMax": "15", "rejectTransactionMessage": "true"}
_UPDATE_BROKER_SETTINGS = 25


def address_of_the_broker() -> str:
    (address,) = {queue.broker for queue in queues(ROCKETMQ_NAMESERVER, "SELF_TEST_TOPIC")}
    return address


def change(settings: dict[str, str]) -> None:
    lines = "".join(f"{name}={value}\n" for name, value in settings.items())
    with connected(address_of_the_broker()) as broker:
        answer = broker.ask(_UPDATE_BROKER_SETTINGS, {}, lines.encode())
    assert answer.code == 0, answer.remark


@pytest.fixture
def forgetful_broker() -> Iterator[None]:
    """For the length of a test, the cluster's broker drops half messages."""
    before = broker_settings(address_of_the_broker())
    change(WRONG)
    try:
        yield
    finally:
        change({name: before[name] for name in WRONG})


@pytest.fixture
def prefix() -> Iterator[str]:
    """An environment with the topic that inventory listens to."""
    prefix, topics = f"{uuid4().hex[:8]}-", Topics(ROCKETMQ_NAMESERVER)
    topics.make(f"{prefix}order_reback", "TRANSACTION")
    yield prefix
    topics.delete(f"{prefix}order_reback")


def test_broker_of_this_cluster_has_every_setting_that_is_checked_and_meets_what_is_required() -> None:
    settings = broker_settings(address_of_the_broker())
    required = (*REQUIRED, LEVELS, *timer_rules(RocketmqUrl.parse("rocketmq://host:8081").longest_delay))

    names = {name for rule in (*required, *RECOMMENDED) for name in rule.names}
    assert names - settings.keys() == {"dLegerPeers"}  # only a broker with DLedger has it
    assert [fault for rule in required if (fault := rule.fault(settings))] == []


@pytest.mark.alone
def test_broker_that_would_break_a_promise_stops_the_start_with_each_fault(prefix: str, forgetful_broker: None) -> None:
    broker = open_broker(URL, topic_prefix=prefix, clock=SystemClock())
    broker.answer_check_backs("order_reback", lambda _: Resolution.UNKNOWN)
    try:
        with pytest.raises(UnusableEngine) as refused:
            broker.start()
    finally:
        broker.close()

    assert refused.value.setting == "BROKER_URL"
    first, second = refused.value.lines
    assert "transactionCheckMax=15, but" in first
    assert "rejectTransactionMessage=true, but" in second


@pytest.mark.alone
def test_service_on_such_a_broker_names_its_setting_in_a_line_for_each_fault_and_exits_with_2(
    prefix: str, forgetful_broker: None, tmp_path: Path
) -> None:
    settings = {
        "INVENTORY_LISTEN": "127.0.0.1:0",
        "INVENTORY_DATABASE_URL": f"sqlite:///{tmp_path}/stock.db",
        "INVENTORY_BROKER_URL": URL,
        "INVENTORY_TOPIC_PREFIX": prefix,
        "INVENTORY_LOG_LEVEL": "error",
    }
    done = subprocess.run(
        [sys.executable, "-m", "inventory_srv"],
        cwd=tmp_path,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("INVENTORY_BROKER_URL: the broker 127.0.0.1:")
    assert "rejectTransactionMessage=true, but" in second
