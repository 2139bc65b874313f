"""The life of a service's process: start, say so, serve until a signal, end in order."""

import gc
import sys
from typing import Final, Protocol

from common.errors import Unavailable, UnusableEngine
from common.metrics import MetricsServer
from common.process.stop_signal import StopSignal
from common.rpc.server import CannotListen

_WRONG_SETTINGS: Final = 2  # the exit code of a program that was called wrongly
_NOT_NOW: Final = 1  # of one that can't do its work now


class Runnable(Protocol):
    """A service that can be started and stopped."""

    @property
    def address(self) -> str:
        """Where it serves, `host:port`."""

    def start(self) -> None:
        """Open everything and serve."""

    def stop(self) -> None:
        """Finish what was accepted and close everything, also what a failed start left open."""


_COLLECT_AFTER: Final = 50_000  # new objects: by then nearly all that a call made are gone, and need no visit


def serve(
    program: str, listen_variable: str, service: Runnable, stop_signal: StopSignal, metrics_listen: str = ""
) -> None:
    """Start a service, say that it is ready, serve until a signal stops it, and end in order.

    It prints one line once it serves: `order_srv ready on 127.0.0.1:50051`, and when it serves metrics too,
    `order_srv ready on 127.0.0.1:50051, metrics on 127.0.0.1:9100`. When it can't start, it says why on stderr and
    exits: with 2 when a setting is wrong, with 1 when an engine that it needs is out of reach.

    Args:
        program: The name in that line.
        listen_variable: The variable that says where it listens, for the error when it can't.
        service: What to serve.
        stop_signal: Ends it. Make it before the service, so that an early signal is not lost.
        metrics_listen: Where to serve metrics, `host:port`; empty: nowhere.
    """
    asked = service.address
    try:
        metrics = MetricsServer(metrics_listen) if metrics_listen else None
    except OSError as error:
        variable = listen_variable.replace("_LISTEN", "_METRICS_LISTEN")
        sys.stderr.write(f"{variable}={metrics_listen!r}: can't listen on {metrics_listen}: {error.strerror}\n")
        sys.exit(_WRONG_SETTINGS)
    try:
        service.start()
        _spare_the_collector()
        sys.stdout.write(_ready_line(program, service.address, metrics))
        sys.stdout.flush()
        stop_signal.wait()
    except CannotListen as error:
        sys.stderr.write(f"{listen_variable}={asked!r}: {error}\n")
        sys.exit(_WRONG_SETTINGS)
    except UnusableEngine as error:
        prefix = listen_variable.removesuffix("LISTEN")
        sys.stderr.write("".join(f"{prefix}{error.setting}: {line}\n" for line in error.lines))
        sys.exit(_WRONG_SETTINGS)
    except Unavailable as error:
        sys.stderr.write(f"{program} can't start: {error} ({error.__cause__})\n")
        sys.exit(_NOT_NOW)
    finally:
        service.stop()  # threads that a failed start left behind would keep the process alive
        if metrics is not None:
            metrics.stop()


def _spare_the_collector() -> None:
    """What is there now stays: the garbage collector need not walk through it again, which stops calls for 20 ms."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def _ready_line(program: str, address: str, metrics: MetricsServer | None) -> str:
    return f"{program} ready on {address}" + (f", metrics on {metrics.address}\n" if metrics else "\n")
