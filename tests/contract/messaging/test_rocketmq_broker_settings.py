"""The settings of a real broker: all that are checked exist, and a broker that would break a promise is refused."""

from pathlib import Path

import pytest

from common.clock import SystemClock
from common.errors import UnusableEngine
from common.messaging.drivers import open_broker
from common.messaging.port import Resolution
from common.messaging.rocketmq.broker_settings import LEVELS, RECOMMENDED, REQUIRED, timer_rules
from common.messaging.rocketmq.proxy.url import RocketmqUrl
from common.messaging.rocketmq.remoting import broker_settings, queues
from tests.support.engines import ROCKETMQ_NAMESERVER
from tests.support.rocketmq_server import rocketmq_server


def test_broker_of_this_cluster_has_every_setting_that_is_checked_and_meets_what_is_required() -> None:
    (address,) = {queue.broker for queue in queues(ROCKETMQ_NAMESERVER, "SELF_TEST_TOPIC")}
    settings = broker_settings(address)
    required = (*REQUIRED, LEVELS, *timer_rules(RocketmqUrl.parse("rocketmq://host:8081").longest_delay))

    assert {name for rule in (*required, *RECOMMENDED) for name in rule.names} <= settings.keys()
    assert [fault for rule in required if (fault := rule.fault(settings))] == []


@pytest.mark.timeout(300)
def test_broker_that_would_break_a_promise_is_refused_with_one_line_for_each_fault(tmp_path: Path) -> None:
    with rocketmq_server(tmp_path, {"flushDiskType": "ASYNC_FLUSH", "transactionCheckMax": "15"}) as server:
        server.topics.make("halves", "TRANSACTION")
        broker = open_broker(server.url, topic_prefix="", clock=SystemClock())
        broker.answer_check_backs("halves", lambda _: Resolution.UNKNOWN)
        try:
            with pytest.raises(UnusableEngine) as refused:
                broker.start()
        finally:
            broker.close()

    assert refused.value.setting == "BROKER_URL"
    first, second = refused.value.lines
    assert "flushDiskType=ASYNC_FLUSH" in first
    assert "transactionCheckInterval=2000, transactionCheckMax=15" in second
