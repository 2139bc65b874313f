"""Logs: one event a line on stderr, for people on a terminal and as JSON elsewhere.

    log = structlog.get_logger(__name__)
    log.info("order closed", order_sn=order_sn, cause="timeout")

Stdout is left to what a program says to its caller. No secret goes into a log: mask URLs, name no local variables.
"""

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "json", "pretty"]


def set_up_logs(service: str, level: Level = "info", log_format: Format = "auto") -> None:
    """Send every log line of this process to stderr, those of libraries too.

    Args:
        service: Named in each line.
        level: What is logged at least.
        log_format: `auto` is pretty when stderr is a terminal and JSON when not.
    """
    as_json = log_format == "json" or (log_format == "auto" and not sys.stderr.isatty())
    always = _facts(service)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=always,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(as_json)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(capture=True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *always,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _facts(service: str) -> list[Processor]:
    """What every line tells."""

    def name_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service  # not a context variable: a new thread begins without those
        return event

    return [
        name_service,
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _rendered(as_json: bool) -> list[Processor]:  # noqa: FBT001 one caller, just above
    if as_json:
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    return [
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    ]
