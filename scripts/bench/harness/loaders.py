"""The load processes: each carries out one plan after the other, and one that dies is noticed at once."""

import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from scripts.bench.harness.load import Measured, Plan, be_quiet_on_ctrl_c, drive

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

_READY_WITHIN_S: Final = 60.0
_TIMEOUT_S: Final = 1800.0


class LoadFailed(Exception):
    """A load process died, or failed at its plan; the text says how."""


class Loaders:
    """A context manager with so many load processes; leaving it ends them, in the middle of whatever they do."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._processes: list[BaseProcess] = []
        self._connections: list[Connection] = []

    def __enter__(self) -> Self:
        context = get_context("spawn")  # grpc does not survive a fork
        try:
            for _ in range(self._count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_carry_out, args=(theirs,), daemon=True)
                process.start()
                theirs.close()  # so that the end of the process is the end of the pipe
                self._processes.append(process)
                self._connections.append(ours)
            Loading(self._connections, _READY_WITHIN_S).result()
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    @property
    def pids(self) -> list[int]:
        """Of the load processes."""
        return [process.pid or 0 for process in self._processes]

    def start(self, plans: Sequence[Plan]) -> "Loading":
        """Have each plan carried out by a process of its own; there are at most as many as processes."""
        used = self._connections[: len(plans)]
        for connection, plan in zip(used, plans, strict=True):
            with suppress(OSError):  # it died: whoever waits for its answer gets an error
                connection.send(plan)
        return Loading(used, _TIMEOUT_S)

    def _kill(self) -> None:
        for process in self._processes:
            process.kill()
            process.join()
        for connection in self._connections:
            connection.close()


class Loading:
    """Plans that are being carried out."""

    def __init__(self, connections: Sequence[Connection], timeout: float) -> None:
        self._connections = list(connections)
        self._give_up = time.monotonic() + timeout

    def result(self) -> list[Measured]:
        """Wait for all of them.

        Raises:
            LoadFailed: One died, failed, or takes too long.
        """
        found = []
        for connection in self._connections:
            if not wait([connection], max(0.0, self._give_up - time.monotonic())):
                raise LoadFailed("a load process does not come to an end")
            try:
                answer = connection.recv()
            except (EOFError, OSError):
                raise LoadFailed("a load process died") from None
            if isinstance(answer, str):
                raise LoadFailed(f"a load process failed: {answer}")
            found.append(answer)
        return found


def _carry_out(connection: Connection) -> None:
    """Send that this process is ready, then carry out plans until the other end closes."""
    be_quiet_on_ctrl_c()
    connection.send(Measured())
    while True:
        try:
            plan = connection.recv()
        except EOFError:
            return
        try:
            connection.send(drive(plan))
        except Exception as error:  # noqa: BLE001 whatever it is, the other end waits for an answer
            connection.send(f"{type(error).__name__}: {error}")
