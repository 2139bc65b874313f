"""The life of a service's process: start, say so, serve until told to stop, end in order."""

import gc
import sys
from typing import Final, Protocol

from common.errors import Unavailable
from common.metrics import serve_metrics
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


def serve(
    program: str, listen_variable: str, service: Runnable, stop_signal: StopSignal, metrics_listen: str = ""
) -> None:
    """Serve until told to stop. What it prints is one line, `order_srv ready on 127.0.0.1:50051`, when it serves.

    When an engine that it needs is not there at the start, it says so on stderr and exits with 1.

    Args:
        program: The name in that line.
        listen_variable: The setting to blame when it can't listen: then it says so on stderr and exits with 2.
        service: What to serve.
        stop_signal: The word to stop. Make it before the service, so that it is never lost.
        metrics_listen: Where to serve what is counted, `host:port`; empty: nowhere.
    """
    asked = service.address
    try:
        stop_metrics = serve_metrics(metrics_listen)
    except OSError as error:
        variable = listen_variable.replace("_LISTEN", "_METRICS_LISTEN")
        sys.stderr.write(f"{variable}={metrics_listen!r}: can't listen on {metrics_listen}: {error.strerror}\n")
        sys.exit(_WRONG_SETTINGS)
    try:
        service.start()
        # What is there now stays: the garbage collector need not walk through it again, which stops calls for 20 ms.
        gc.collect()
        gc.freeze()
        sys.stdout.write(f"{program} ready on {service.address}\n")
        sys.stdout.flush()
        stop_signal.wait()
    except CannotListen as error:
        sys.stderr.write(f"{listen_variable}={asked!r}: {error}\n")
        sys.exit(_WRONG_SETTINGS)
    except Unavailable as error:
        sys.stderr.write(f"{program} can't start: {error} ({error.__cause__})\n")
        sys.exit(_NOT_NOW)
    finally:
        service.stop()  # threads that a failed start left behind would keep the process alive
        stop_metrics()
