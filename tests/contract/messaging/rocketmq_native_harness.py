"""The contract suite on RocketMQ's native client, on the same cluster and topics as the official one."""

from dataclasses import dataclass

import pytest

from common.messaging.rocketmq.native.library import check_library
from tests.contract.messaging.rocketmq_harness import RocketmqHarness


def native_url(nameserver: str) -> str:
    """The URL of a native broker; without the library the test is skipped, and says why."""
    try:
        check_library()
    except ValueError as missing:
        pytest.skip(str(missing))
    return f"rocketmq-native://{nameserver}"


@dataclass
class NativeHarness(RocketmqHarness):
    """The native client."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._url = native_url(self.nameserver)
        self.retry_pauses = (1.0, 5.0)  # RocketMQ's first delay levels
        self.take_over_after = 120.0  # when a process only hangs; the broker's own timeout for a silent connection
        self.counts_lost_tries = False

    def url(self) -> str:
        return f"{self._url}?tries={self.tries}"
