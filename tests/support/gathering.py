"""Groups of a size that a test picks.

In this process: `gather(create_order.waiting, 3)`, and the next three calls are one group. As a process of its own:

    GATHER=3 python -m tests.support.gathering

is the order service, whose first three creates are one group, and its first three cancels, and its first three refunds.
"""

import os
from collections.abc import Sequence
from math import inf
from typing import Any, Final

from common.batching import Call, Groups
from common.process.logs import set_up_logs
from common.process.serve import serve
from common.process.settings import load_settings
from common.process.stop_signal import StopSignal
from order_srv.bootstrap import OrderService, build
from order_srv.domain.order_state import Cause
from order_srv.settings import OrderSettings

VARIABLE: Final = "GATHER"


def gather(groups: Groups[Any, Any], count: int) -> None:
    """Let the next group begin once so many wait for it, however long that takes: as if one of that size had ended."""
    execute = groups._execute

    def execute_and_gather_no_more(calls: Sequence[Call[Any, Any]]) -> None:
        groups._last_size, groups._last_end, groups._execute = 1, -inf, execute
        execute(calls)

    groups._last_size, groups._last_end, groups._execute = count, inf, execute_and_gather_no_more


def closing_groups(service: OrderService, cause: Cause) -> Groups[Any, Any]:
    """In which the closes of a cause are gathered."""
    return service.use_cases.close_order._groups[cause]._groups


def main() -> None:
    settings, stop_signal = load_settings(OrderSettings), StopSignal()
    set_up_logs("order", settings.log_level, settings.log_format)
    service, count = build(settings), int(os.environ[VARIABLE])
    gather(service.use_cases.create_order.waiting, count)
    for cause in (Cause.CANCEL, Cause.REFUND):
        gather(closing_groups(service, cause), count)
    serve("order_srv", "ORDER_LISTEN", service, stop_signal)


if __name__ == "__main__":
    main()
