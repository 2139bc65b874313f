"""The brokers' settings that the drivers rely on, checked when a service starts.

They are read over the admin protocol, through the name server. Where it or a broker can't be asked, because only the
proxy is reachable from here, the start goes on unchecked, and the log says so.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from common.errors import UnusableEngine
from common.messaging.delay_levels import DELAY_LEVELS
from common.messaging.port import MessagingError
from common.messaging.rocketmq.remoting import TopicMissing, broker_settings, brokers_of, queues
from common.plain_numbers import whole_number_or

log = structlog.get_logger(__name__)

SETTING: Final = "BROKER_URL"
OUTAGE: Final = timedelta(days=1)
"""How long nobody may be there to answer check-backs, or to consume, without a message being lost."""

_OUTAGE_MS: Final = OUTAGE // timedelta(milliseconds=1)
_OUTAGE_HOURS: Final = OUTAGE // timedelta(hours=1)
_LATEST_CHECK_MS: Final = 5000
_LEAST_TIMER_FLUSH_MS: Final = 10_000
_LEAST_IN_SYNC: Final = 2
_DELAY_LEVELS: Final = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h"

Settings = Mapping[str, str]
"""A broker's settings by name."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition on a broker's settings.

    Attributes:
        names: The settings that it reads. To a broker without the first one it does not apply.
        holds: Whether their values, in that order, meet it; a missing one is empty.
        needed: What is needed instead, and why.
    """

    names: tuple[str, ...]
    holds: Callable[..., bool]
    needed: str

    def fault(self, settings: Settings) -> str:
        """What is wrong, such as `fileReservedTime=1, but …`; empty if nothing is."""
        values = {name: settings.get(name, "") for name in self.names}
        if self.names[0] not in settings or self.holds(*values.values()):
            return ""
        return f"{', '.join(f'{name}={value}' for name, value in values.items() if value)}, but {self.needed}"


_SURVIVING: Final = (
    "flushDiskType",
    "brokerRole",
    "inSyncReplicas",
    "enableDLegerCommitLog",
    "dLegerPeers",
    "enableControllerMode",
    "allAckInSyncStateSet",
    "minInSyncReplicas",
)


def _survives_a_power_cut(*values: str) -> bool:
    """Whether a confirmed message is on a disk, or in two brokers at least."""
    flush, role, in_sync, dledger, peers, controller, all_in_sync, least_in_sync = values
    synchronous = role == "SYNC_MASTER" and _number(in_sync) >= _LEAST_IN_SYNC
    majority = dledger == "true" and ";" in peers  # a group of one has no copy
    # A broker that falls behind leaves the set of those in sync: without a least size, the master alone may be left.
    set_of_two = controller == all_in_sync == "true" and _number(least_in_sync) >= _LEAST_IN_SYNC
    return flush == "SYNC_FLUSH" or synchronous or majority or set_of_two


def _number(text: str) -> int:
    """The number, or -1 for text that is none, which no broker reports."""
    return whole_number_or(text, -1)


REQUIRED: Final = (
    Rule(
        _SURVIVING,
        _survives_a_power_cut,
        "a confirmed message has to survive a power cut: flushDiskType=SYNC_FLUSH is needed, or a copy in a second "
        f"broker: brokerRole=SYNC_MASTER with inSyncReplicas={_LEAST_IN_SYNC}, DLedger with several dLegerPeers, or "
        f"controller mode with allAckInSyncStateSet=true and minInSyncReplicas={_LEAST_IN_SYNC}",
    ),
    Rule(
        ("transactionCheckInterval", "transactionCheckMax"),
        lambda interval, most: _number(interval) * _number(most) >= _OUTAGE_MS,
        "half messages are dropped after the two multiplied, even while nobody can answer check-backs: "
        f"{_OUTAGE_MS} ms or more are needed, such as 2000 and 43200",
    ),
    Rule(
        ("fileReservedTime",),
        lambda hours: _number(hours) >= _OUTAGE_HOURS,
        f"messages and half messages are deleted after that many hours: {_OUTAGE_HOURS} or more are needed",
    ),
    Rule(
        ("rejectTransactionMessage",),
        lambda rejects: rejects == "false",
        "half messages are needed: set it to false",
    ),
)
"""Without these, the port's promises do not hold, for either client."""

RECOMMENDED: Final = (
    Rule(
        ("transactionTimeOut",),
        lambda after: _number(after) <= _LATEST_CHECK_MS,
        f"the first check-back comes after that many ms: {_LATEST_CHECK_MS} or less are better",
    ),
    Rule(
        ("transactionCheckInterval",),
        lambda interval: _number(interval) <= _LATEST_CHECK_MS,
        f"check-backs come that many ms apart, and as late after a restart: {_LATEST_CHECK_MS} or less are better",
    ),
    Rule(
        ("transactionOpBatchInterval", "transactionTimeOut"),
        lambda noted, after: _number(noted) < _number(after),
        "resolutions are noted later than check-backs begin, so most half messages get one for nothing: 300 is better",
    ),
    Rule(
        ("timerFlushIntervalMs",),
        lambda interval: _number(interval) >= _LEAST_TIMER_FLUSH_MS,
        "each flush compares the 39 MB of the timer wheel, which costs up to a quarter of a CPU: 60000 is better",
    ),
    Rule(
        ("autoCreateTopicEnable",),
        lambda enabled: enabled == "false",
        "a misspelt topic becomes a new one instead of an error: false is better",
    ),
)
"""Without these, all works, but slower or with less help against mistakes."""

LEVELS: Final = Rule(
    ("messageDelayLevel",),
    lambda levels: " ".join(levels.split()) == _DELAY_LEVELS,
    f"this client knows only the {len(DELAY_LEVELS)} levels of RocketMQ's default: {_DELAY_LEVELS}",
)
"""Required by a client that delays messages by levels."""


def timer_rules(longest_delay: timedelta) -> tuple[Rule, ...]:
    """Required by a client that delays messages by delivery times.

    Args:
        longest_delay: The longest delay of one hop.
    """
    seconds = longest_delay // timedelta(seconds=1)
    return (
        Rule(("timerWheelEnable",), lambda enabled: enabled == "true", "delayed messages need it: set it to true"),
        Rule(
            ("timerMaxDelaySec",),
            lambda longest: _number(longest) > seconds,
            f"the URL's longest_delay is {seconds} s: make one larger, or the other smaller",
        ),
    )


def check_brokers(nameserver: str, topics: Collection[str], required: Collection[Rule] = ()) -> None:
    """Check the brokers that have these topics; all, while one is missing. Warns of settings that cost speed.

    Args:
        nameserver: `host:port`.
        topics: With their prefix.
        required: Rules of the client, beside those of every client.

    Raises:
        UnusableEngine: A broker would break a promise; one line for each fault.
    """
    try:
        settings = {broker: broker_settings(broker) for broker in _brokers_with(nameserver, topics)}
    except TopicMissing:
        log.warning("broker settings not checked: the name server knows no broker yet", nameserver=nameserver)
        return
    except MessagingError as error:
        log.info("broker settings not checked: the admin protocol is out of reach", error=str(error))
        return
    faults = list(_faults(settings, [*REQUIRED, *required]))
    if faults:
        raise UnusableEngine(SETTING, faults)
    for warning in _faults(settings, RECOMMENDED):
        text = f"{SETTING}: {warning}"
        log.warning(text)


def _brokers_with(nameserver: str, topics: Collection[str]) -> list[str]:
    try:
        return sorted({queue.broker for topic in topics for queue in queues(nameserver, topic)})
    except TopicMissing:  # any broker may get it
        return brokers_of(nameserver)


def _faults(brokers: Mapping[str, Settings], rules: Collection[Rule]) -> Iterator[str]:
    for broker, settings in brokers.items():
        for rule in rules:
            if fault := rule.fault(settings):
                yield f"the broker {broker} has {fault}"
