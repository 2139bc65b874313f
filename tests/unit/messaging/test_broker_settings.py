"""Which settings of a RocketMQ broker stop the start, and which are only warned of."""

from datetime import timedelta

import pytest
import structlog

from common.errors import UnusableEngine
from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq import broker_settings as module
from common.messaging.rocketmq.broker_settings import LEVELS, RECOMMENDED, REQUIRED, Rule, check_brokers, timer_rules
from common.messaging.rocketmq.remoting import Queue, TopicMissing

GOOD = {
    "flushDiskType": "SYNC_FLUSH",
    "brokerRole": "ASYNC_MASTER",
    "inSyncReplicas": "1",
    "enableDLegerCommitLog": "false",
    "enableControllerMode": "false",
    "allAckInSyncStateSet": "false",
    "minInSyncReplicas": "1",
    "transactionTimeOut": "3000",
    "transactionCheckInterval": "2000",
    "transactionCheckMax": "43200",
    "transactionOpBatchInterval": "300",
    "rejectTransactionMessage": "false",
    "fileReservedTime": "24",
    "timerFlushIntervalMs": "60000",
    "timerWheelEnable": "true",
    "timerMaxDelaySec": "259200",
    "messageDelayLevel": "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h",
    "autoCreateTopicEnable": "false",
}
CONTROLLER = {"enableControllerMode": "true", "allAckInSyncStateSet": "true", "minInSyncReplicas": "2"}
OF_CLIENTS = (LEVELS, *timer_rules(timedelta(hours=23)))


def faults(rules: tuple[Rule, ...], **changed: str) -> list[str]:
    return [fault for rule in rules if (fault := rule.fault({**GOOD, **changed}))]


def test_good_settings_have_no_fault() -> None:
    assert faults((*REQUIRED, *RECOMMENDED, *OF_CLIENTS)) == []


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"flushDiskType": "ASYNC_FLUSH"}, "flushDiskType=ASYNC_FLUSH"),
        ({"flushDiskType": "ASYNC_FLUSH", "brokerRole": "SYNC_MASTER"}, "inSyncReplicas=1, enable"),
        ({"flushDiskType": "ASYNC_FLUSH", "inSyncReplicas": "2"}, "brokerRole=ASYNC_MASTER"),
        ({"flushDiskType": "ASYNC_FLUSH", "enableDLegerCommitLog": "true", "dLegerPeers": "n0-a:1"}, "n0-a:1"),
        ({"flushDiskType": "ASYNC_FLUSH", **CONTROLLER, "allAckInSyncStateSet": "false"}, "allAckInSyncStateSet=false"),
        ({"flushDiskType": "ASYNC_FLUSH", **CONTROLLER, "minInSyncReplicas": "1"}, "minInSyncReplicas=1"),
        ({"flushDiskType": "ASYNC_FLUSH", **CONTROLLER, "enableControllerMode": "false"}, "enableControllerMode=false"),
        ({"transactionCheckMax": "15"}, "transactionCheckInterval=2000, transactionCheckMax=15, but"),
        ({"fileReservedTime": "9" * 5000}, "fileReservedTime=99999"),
        ({"transactionCheckMax": "43199"}, "86400000 ms or more"),
        ({"fileReservedTime": "23"}, "fileReservedTime=23, but"),
        ({"rejectTransactionMessage": "true"}, "rejectTransactionMessage=true, but"),
        ({"timerWheelEnable": "false"}, "timerWheelEnable=false, but"),
        ({"timerMaxDelaySec": "82800"}, "timerMaxDelaySec=82800, but the URL's longest_delay is 82800 s"),
        ({"messageDelayLevel": "1s 2s"}, "messageDelayLevel=1s 2s, but"),
    ],
)
def test_setting_that_breaks_a_promise_is_a_fault_with_its_value(changed: dict[str, str], told: str) -> None:
    (fault,) = faults((*REQUIRED, *OF_CLIENTS), **changed)

    assert told in fault


@pytest.mark.parametrize(
    "changed",
    [
        {"transactionTimeOut": "6000"},
        {"transactionCheckInterval": "30000"},
        {"transactionOpBatchInterval": "3000"},
        {"timerFlushIntervalMs": "1000"},
        {"autoCreateTopicEnable": "true"},
    ],
)
def test_setting_that_costs_speed_is_only_warned_of(changed: dict[str, str]) -> None:
    (name,) = changed

    assert any(name in fault for fault in faults(RECOMMENDED, **changed))
    assert faults(REQUIRED, **changed) == []


@pytest.mark.parametrize(
    "copied",
    [
        {"brokerRole": "SYNC_MASTER", "inSyncReplicas": "2"},
        {"enableDLegerCommitLog": "true", "dLegerPeers": "n0-a:40911;n1-b:40911;n2-c:40911"},
        CONTROLLER,
    ],
    ids=["synchronous", "DLedger", "controller"],
)
def test_copies_in_two_brokers_are_as_good_as_a_flush(copied: dict[str, str]) -> None:
    assert faults(REQUIRED, flushDiskType="ASYNC_FLUSH", **copied) == []


def test_setting_that_a_broker_does_not_have_is_no_fault() -> None:
    assert [rule.fault({}) for rule in (*REQUIRED, *RECOMMENDED, *OF_CLIENTS)] == [""] * 12


class Cluster:
    """A name server and two brokers with a topic each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = {"one:10911": dict(GOOD), "two:10911": dict(GOOD)}
        self.away = ""
        self.registered = {"one", "two"}
        monkeypatch.setattr(module, "queues", self._queues)
        monkeypatch.setattr(module, "brokers_of", self._brokers_of)
        monkeypatch.setattr(module, "broker_settings", self._broker_settings)

    def _queues(self, _nameserver: str, topic: str) -> list[Queue]:
        if topic not in self.registered:
            raise TopicMissing(f"there is no topic {topic!r}")
        return [Queue(f"{topic}:10911", number) for number in range(2)]

    def _brokers_of(self, _nameserver: str) -> list[str]:
        if not self.registered:
            raise TopicMissing("there is no topic")
        return sorted(self.settings)

    def _broker_settings(self, address: str) -> dict[str, str]:
        if address == self.away:
            raise BrokerUnavailable(f"can't reach {address}")
        return self.settings[address]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_each_fault_of_each_broker_is_one_line(cluster: Cluster) -> None:
    cluster.settings["one:10911"]["flushDiskType"] = "ASYNC_FLUSH"
    cluster.settings["two:10911"]["transactionCheckMax"] = "15"

    with pytest.raises(UnusableEngine) as refused:
        check_brokers("name server:9876", ["one", "two"])

    assert refused.value.setting == "BROKER_URL"
    assert [line.split(",", 1)[0] for line in refused.value.lines] == [
        "the broker one:10911 has flushDiskType=ASYNC_FLUSH",
        "the broker two:10911 has transactionCheckInterval=2000",
    ]


def test_only_brokers_of_these_topics_count(cluster: Cluster) -> None:
    cluster.settings["two:10911"]["flushDiskType"] = "ASYNC_FLUSH"

    check_brokers("name server:9876", ["one"])


def test_rules_of_the_client_count_too(cluster: Cluster) -> None:
    cluster.settings["one:10911"]["timerWheelEnable"] = "false"

    check_brokers("name server:9876", ["one"])
    with pytest.raises(UnusableEngine, match="timerWheelEnable"):
        check_brokers("name server:9876", ["one"], timer_rules(timedelta(hours=1)))


def test_what_costs_speed_is_one_warning_a_setting(cluster: Cluster) -> None:
    cluster.settings["one:10911"]["timerFlushIntervalMs"] = "1000"

    with structlog.testing.capture_logs() as lines:
        check_brokers("name server:9876", ["one", "two"])

    (line,) = lines
    assert line["log_level"] == "warning"
    assert line["event"].startswith("BROKER_URL: the broker one:10911 has timerFlushIntervalMs=1000, but ")


def test_broker_that_can_not_be_asked_is_no_fault_but_logged(cluster: Cluster) -> None:
    cluster.settings["one:10911"]["flushDiskType"] = "ASYNC_FLUSH"
    cluster.away = "two:10911"

    with structlog.testing.capture_logs() as lines:
        check_brokers("name server:9876", ["one", "two"])

    (line,) = lines
    assert (line["log_level"], line["error"]) == ("info", "can't reach two:10911")


def test_while_a_topic_is_not_registered_every_broker_is_checked(cluster: Cluster) -> None:
    cluster.registered = {"one"}
    cluster.settings["two:10911"]["flushDiskType"] = "ASYNC_FLUSH"

    with pytest.raises(UnusableEngine, match="two:10911"):
        check_brokers("name server:9876", ["one", "new"])


def test_while_no_broker_is_registered_the_log_says_so(cluster: Cluster) -> None:
    cluster.registered = set()

    with structlog.testing.capture_logs() as lines:
        check_brokers("name server:9876", ["one"])

    (line,) = lines
    assert line == {
        "event": "broker settings not checked: the name server knows no broker yet",
        "log_level": "warning",
        "nameserver": "name server:9876",
    }


def test_without_topics_nothing_is_looked_up(cluster: Cluster) -> None:
    cluster.registered = set()

    with structlog.testing.capture_logs() as lines:
        check_brokers("name server:9876", [])

    assert lines == []
