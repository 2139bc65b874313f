"""Both services as processes of their own, started, watched and stopped together."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scripts.lib.signals import signals_held_back

_READY: Final = re.compile(r"^(\w+) ready on ([^\s,]+)(, metrics on \S+)?$", re.MULTILINE)
_POLL_S: Final = 0.02
_LAST_LINES: Final = 15  # of a log that are shown when its service failed
_TRACEBACK: Final = "Traceback (most recent call last):"
_WRONGLY_CALLED: Final = 2  # the exit code of a program whose settings are wrong

START_WITHIN: Final = timedelta(seconds=60)
STOP_WITHIN: Final = timedelta(seconds=30)

_PREFIXES: Final = ("INVENTORY_", "ORDER_")


class ServiceFailed(Exception):
    """A service did not start, died, or did not stop in order.

    Attributes:
        code: The exit code for whoever started it: 2 when its settings or its files have to be changed, else 1.
    """

    def __init__(self, text: str, code: int = 1) -> None:
        self.code = code
        super().__init__(text)


class Closed(Exception):
    """Nothing is started any more, since everything is being stopped."""


class Service:
    """One service as a process; it has started when it says that it is ready.

    It runs in a session of its own: Ctrl-C reaches only the program that started it, which decides when it stops.

    Attributes:
        address: The `host:port` that it serves; known once started.
        started_in: How many seconds it took until it was ready.

    Args:
        module: What to run, `inventory_srv` or `order_srv`.
        folder: The current folder of the process; relative paths in its settings begin there.
        log: Where its output goes, after what is there already.
        settings: Environment variables over those of this process.
        python: The interpreter that runs it; None: this process's.
        title: What it is called where it fails; empty: `module`.
    """

    def __init__(  # noqa: PLR0917 the process, then who runs it
        self,
        module: str,
        folder: Path,
        log: Path,
        settings: Mapping[str, str],
        python: Path | None = None,
        title: str = "",
    ) -> None:
        self.module = module
        self.log = log
        self.address = ""
        self.started_in = 0.0
        self._began = 0.0
        self._folder = folder
        self._settings = dict(settings)
        self._python = str(python or sys.executable)
        self._title = title or module
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0
        self._stopping = threading.Lock()
        self._told_to_stop = False
        self._was_ready = False

    @property
    def pid(self) -> int:
        return self._started().pid

    def start(self) -> None:
        """Start it, and wait until it tells the `address` that it serves.

        Raises:
            ServiceFailed: It died or said nothing in time.
        """
        self.spawn()
        self.wait_until_ready()

    def spawn(self) -> None:
        """Start the process.

        Raises:
            ServiceFailed: Its log can't be written.
        """
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            output = self.log.open("ab")
        except OSError as error:
            cure = "data and logs go there, so it has to be a folder that can be written"
            raise ServiceFailed(f"{self.log.parent}: {error.strerror}; {cure}", _WRONGLY_CALLED) from error
        self._began = time.monotonic()
        self._told_to_stop = self._was_ready = False
        with output, signals_held_back():
            self._log_start = output.tell()
            self._process = subprocess.Popen(
                [self._python, "-m", self.module],
                cwd=self._folder,
                env={**os.environ, **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait until it tells the `address` that it serves.

        Raises:
            ServiceFailed: It died or said nothing in time.
        """
        deadline = time.monotonic() + START_WITHIN.total_seconds()
        while time.monotonic() < deadline:
            code = self._started().poll()
            ready = _READY.search(self._output())
            if ready:
                self.address = ready[2]
                self._was_ready = True
                self.started_in = time.monotonic() - self._began
                return
            if code is not None:
                raise self._did_not_start(code)
            time.sleep(_POLL_S)
        self.kill()
        raise self._failed(f"was not ready within {START_WITHIN.total_seconds():.0f} s")

    def check(self) -> None:
        """Raise ServiceFailed if it died."""
        code = self._started().poll()
        if code is not None:
            raise self._failed(f"died (exit code {code})")

    def stop(self) -> None:
        """Stop it in order: send SIGTERM and wait until it has ended. Two threads may do so at once.

        Raises:
            ServiceFailed: It had to be killed, or its exit code is not 0.
        """
        process = self._started()
        with self._stopping:  # told twice, it would end at once
            if process.poll() is not None:
                return
            if not self._told_to_stop:
                process.send_signal(signal.SIGTERM)
            self._told_to_stop = True
        try:
            code = process.wait(STOP_WITHIN.total_seconds())
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"did not stop within {STOP_WITHIN.total_seconds():.0f} s and was killed") from None
        in_order = {0} if self._was_ready else {0, -signal.SIGTERM}  # before it is ready, a signal just ends it
        if code not in in_order:
            raise self._failed(f"did not stop in order (exit code {code})")

    def kill(self) -> None:
        """End it at once, in the middle of whatever it does. Again is harmless."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            raise AssertionError("it was never started")
        return self._process

    def _output(self) -> str:
        with self.log.open("rb") as output:
            output.seek(self._log_start)
            return output.read().decode(errors="replace")

    def _did_not_start(self, code: int) -> ServiceFailed:
        """What it said of why; the lines that are no events of its log stand last."""
        lines = self._output().splitlines()
        events = [at for at, line in enumerate(lines) if line.startswith("{")]
        said = lines[events[-1] + 1 if events else 0 :]
        if code not in {1, _WRONGLY_CALLED} or not said or _TRACEBACK in said:
            return self._failed(f"did not start (exit code {code})")
        return ServiceFailed(f"{self._title} did not start: {_text(said)}", code)

    def _failed(self, what: str) -> ServiceFailed:
        return ServiceFailed(f"{self._title} {what}. From {self.log}:\n  {_text(self._output().splitlines())}")


def _text(lines: Sequence[str]) -> str:
    return "\n  ".join(lines[-_LAST_LINES:])


class Services:
    """Inventory, and order that calls it. As a context manager it leaves no process behind, whatever happens.

    `close` may be called from another thread at any moment: what is being started then is stopped as well.

    Args:
        folder: Where they run; relative paths in their settings begin there, and logs go to `.run/logs` in it.
        settings: Environment variables for both, over those of this process.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._settings = dict(settings)
        self._running: list[Service] = []
        self._starting = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        try:
            self.inventory = self._start("inventory_srv", {})
            self._settings.setdefault(
                "ORDER_DISCOVERY_URL",
                os.environ.get("ORDER_DISCOVERY_URL") or f"static://?inventory-srv={self.inventory.address}",
            )
            self.order = self._start("order_srv", {})
        except BaseException:
            with contextlib.suppress(ServiceFailed):  # why it did not start says more
                self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop what runs, and start nothing more. Again is harmless.

        Raises:
            ServiceFailed: One did not stop in order; all are ended all the same.
        """
        with signals_held_back():
            with self._starting:
                self._closed = True
            try:
                for service in reversed(self._running):  # order first: it calls inventory while it finishes
                    service.stop()
            finally:
                for service in self._running:
                    service.kill()

    @property
    def logs(self) -> Path:
        return self._folder / ".run" / "logs"

    def check(self) -> None:
        """Raise ServiceFailed if one of them died."""
        for service in self._running:
            service.check()

    def restart_order(self, settings: Mapping[str, str]) -> None:
        """Stop the order service in order and start it again, with `settings` over those it had at first."""
        self.order.stop()
        with self._starting:
            self._running.remove(self.order)
        self.order = self._start("order_srv", settings)

    def _start(self, module: str, settings: Mapping[str, str]) -> Service:
        service = Service(module, self._folder, self.logs / f"{module}.log", {**self._settings, **settings})
        with self._starting:
            if self._closed:
                raise Closed
            service.spawn()
            self._running.append(service)
        service.wait_until_ready()
        return service


def forget_settings() -> None:
    """Remove the services' settings from this process's environment, so that what follows does not depend on them."""
    for name in list(os.environ):
        if name.upper().startswith(_PREFIXES):
            del os.environ[name]
