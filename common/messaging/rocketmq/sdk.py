"""The only place that imports RocketMQ's official client; it undoes the side effects of that import.

- The import creates a folder for log files in the home folder, and fails where it can't. Here it finds a logger
  ready-made, which passes its messages on only at level debug: the driver itself logs all that matters.
- The client shares the package `rocketmq` with the binding of the native client. Which of them provides `__init__.py`
  depends on the order of installation; the official client needs one name from its own.
"""

import logging
import sys
from types import ModuleType
from typing import Final

from grpc.aio import AioRpcError

_LOG_MODULE: Final = "rocketmq.v5.log.log_config"


def _only_for_debugging(_record: logging.LogRecord) -> bool:
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def _not_the_clients_heartbeats(record: logging.LogRecord) -> bool:
    """Drops failed heartbeats, which the client raises where nobody catches them and Python logs with a traceback."""
    failure = record.exc_info[1] if record.exc_info else None
    return not isinstance(failure, AioRpcError) or _only_for_debugging(record)


def _keep_out_of_the_home_folder() -> None:
    if _LOG_MODULE in sys.modules:
        return
    logger = logging.getLogger("rocketmq-python-client")
    logger.addFilter(_only_for_debugging)
    module = ModuleType(_LOG_MODULE)
    module.logger = logger  # type: ignore[attr-defined] # what the client takes from it
    sys.modules[_LOG_MODULE] = module
    logging.getLogger("concurrent.futures").addFilter(_not_the_clients_heartbeats)


def _complete_the_shared_package() -> None:
    import rocketmq  # noqa: PLC0415 - not before the logger is there
    from rocketmq.v5.client import ClientConfiguration  # noqa: PLC0415

    if not hasattr(rocketmq, "ClientConfiguration"):
        rocketmq.ClientConfiguration = ClientConfiguration


_keep_out_of_the_home_folder()
_complete_the_shared_package()

from rocketmq.grpc_protocol import (  # noqa: E402 - only now can it be imported
    AckMessageRequest,
    Code,
    EndTransactionRequest,
    MessageType,
    QueryRouteRequest,
    Resource,
    TransactionResolution,
    TransactionSource,
)
from rocketmq.v5.client import ClientConfiguration, Credentials  # noqa: E402
from rocketmq.v5.consumer import SimpleConsumer  # noqa: E402
from rocketmq.v5.exception import BadRequestException, IllegalArgumentException  # noqa: E402
from rocketmq.v5.model import FilterExpression  # noqa: E402
from rocketmq.v5.model import Message as ClientMessage  # noqa: E402
from rocketmq.v5.producer import Producer  # noqa: E402

__all__ = [
    "AckMessageRequest",
    "BadRequestException",
    "ClientConfiguration",
    "ClientMessage",
    "Code",
    "Credentials",
    "EndTransactionRequest",
    "FilterExpression",
    "IllegalArgumentException",
    "MessageType",
    "Producer",
    "QueryRouteRequest",
    "Resource",
    "SimpleConsumer",
    "TransactionResolution",
    "TransactionSource",
]
