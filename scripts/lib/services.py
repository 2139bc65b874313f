"""Both services as processes of their own, started, watched and stopped together."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from scripts.lib.signals import signals_held_back

_READY: Final = re.compile(r"^(\w+) ready on ([^\s,]+)(, metrics on \S+)?$", re.MULTILINE)
_POLL_S: Final = 0.02
_LAST_WORDS: Final = 15  # lines of a log that are shown when its service failed

START_WITHIN: Final = timedelta(seconds=60)
STOP_WITHIN: Final = timedelta(seconds=30)

_PREFIXES: Final = ("INVENTORY_", "ORDER_")


class ServiceFailed(Exception):
    """A service did not start, died, or did not stop in order; the text has its last words."""


class Service:
    """One service as a process; it has started when it says that it is ready.

    It gets a session of its own, so that Ctrl-C reaches only who started it, and that one decides.

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
        self._folder = folder
        self._settings = dict(settings)
        self._python = str(python or sys.executable)
        self._title = title or module
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        return self._started().pid

    def start(self) -> None:
        """Start it, and wait until it tells the `address` that it serves.

        Raises:
            ServiceFailed: It died or said nothing in time.
        """
        began = time.monotonic()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output, signals_held_back():
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
        self._wait_until_ready()
        self.started_in = time.monotonic() - began

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_WITHIN.total_seconds()
        while time.monotonic() < deadline:
            code = self._started().poll()
            ready = _READY.search(self._output())
            if ready:
                self.address = ready[2]
                return
            if code is not None:
                raise self._failed(f"did not start (exit code {code})")
            time.sleep(_POLL_S)
        self.kill()
        raise self._failed(f"was not ready within {START_WITHIN.total_seconds():.0f} s")

    def check(self) -> None:
        """Raise ServiceFailed if it died."""
        code = self._started().poll()
        if code is not None:
            raise self._failed(f"died (exit code {code})")

    def stop(self) -> None:
        """Ask it to stop, wait until it has, and see that it did so in order.

        Raises:
            ServiceFailed: It had to be killed, or its exit code is not 0.
        """
        process = self._started()
        if process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_WITHIN.total_seconds())
        except subprocess.TimeoutExpired:
            self.kill()
            raise self._failed(f"did not stop within {STOP_WITHIN.total_seconds():.0f} s and was killed") from None
        if code != 0:
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

    def _failed(self, what: str) -> ServiceFailed:
        words = "\n".join(f"  {line}" for line in self._output().splitlines()[-_LAST_WORDS:])
        return ServiceFailed(f"{self._title} {what}. Its last words, from {self.log}:\n{words}")


class Services:
    """Inventory, and order that calls it. As a context manager it leaves no process behind, whatever happens.

    Args:
        folder: Where they run; relative paths in their settings begin there, and logs go to `.run/logs` in it.
        settings: Environment variables for both, over those of this process.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        self._folder = folder
        self._settings = dict(settings)
        self._running: list[Service] = []

    def __enter__(self) -> Self:
        try:
            self.inventory = self._start("inventory_srv", {})
            self._settings.setdefault(
                "ORDER_DISCOVERY_URL",
                os.environ.get("ORDER_DISCOVERY_URL") or f"static://?inventory-srv={self.inventory.address}",
            )
            self.order = self._start("order_srv", {})
        except BaseException:
            self._kill_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for service in reversed(self._running):  # order first: it calls inventory while it finishes
                service.stop()
        finally:
            self._kill_all()

    @property
    def logs(self) -> Path:
        return self._folder / ".run" / "logs"

    def check(self) -> None:
        """Raise ServiceFailed if one of them died."""
        for service in self._running:
            service.check()

    def stop_order(self) -> None:
        """Stop the order service in order; inventory goes on."""
        self.order.stop()
        self._running.remove(self.order)

    def start_order(self, settings: Mapping[str, str]) -> None:
        """Start the order service again, with `settings` over those it had at first."""
        self.order = self._start("order_srv", settings)

    def _start(self, module: str, settings: Mapping[str, str]) -> Service:
        service = Service(module, self._folder, self.logs / f"{module}.log", {**self._settings, **settings})
        self._running.append(service)
        service.start()
        return service

    def _kill_all(self) -> None:
        for service in self._running:
            service.kill()


def forget_settings() -> None:
    """Take the services' settings out of this process's environment: what follows must not depend on them."""
    for name in list(os.environ):
        if name.upper().startswith(_PREFIXES):
            del os.environ[name]
