"""A service as a process that dies, the broker's file on a bad day, and an inventory whose answers get lost."""

import signal
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc

from common.database import to_micros
from common.process.settings import ServiceSettings
from inventory_srv.settings import InventorySettings
from order_srv.settings import OrderSettings
from scripts.lib.services import Service
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import world_of

T = TypeVar("T")

NOT_YET: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED, grpc.StatusCode.DEADLINE_EXCEEDED}  # the server's own limit
)
"""What a caller is told who may repeat the call, or start over."""


class Process(Service):
    """`python -m order_srv` or `python -m inventory_srv`, in a folder, with settings."""

    def __init__(self, folder: Path, settings: OrderSettings | InventorySettings) -> None:
        module = "order_srv" if isinstance(settings, OrderSettings) else "inventory_srv"
        super().__init__(module, folder, folder / f"{module}.log", _variables(settings))

    def wait_until_killed(self) -> None:
        """Wait until it has died by SIGKILL; nobody but itself sends that, at its crash point."""
        code = self._started().wait(TIMEOUT_S)
        assert code == -signal.SIGKILL, f"it ended with {code}:\n{self.log.read_text()}"

    def start_at(self, address: str) -> None:
        """Start it, listening where it is told."""
        prefix = self.module.removesuffix("_srv").upper()
        self._settings[f"{prefix}_LISTEN"] = address
        self.start()

    def terminate(self) -> None:
        """Ask it to stop, and do not wait."""
        self._started().send_signal(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        self._started().send_signal(number)


@contextmanager
def process(folder: Path, settings: OrderSettings | InventorySettings) -> Iterator[Process]:
    """A started service process, which is killed at the end if it still runs."""
    started = Process(folder, settings)
    try:
        started.start()
        yield started
    finally:
        started.kill()


def _variables(settings: ServiceSettings) -> dict[str, str]:
    prefix = str(settings.model_config["env_prefix"])
    return {f"{prefix}{name.upper()}": _text(value) for name, value in settings.model_dump().items()}


def _text(value: object) -> str:
    return str(value.total_seconds()) if isinstance(value, timedelta) else str(value)


def until_done(call: Callable[[], T]) -> T:
    """Call as a good caller does: again, while the answer is that the outcome is not known or the race was lost."""
    answers: list[T] = []

    def done() -> bool:
        try:
            answers.append(call())
        except grpc.RpcError as error:
            if error.code() not in NOT_YET:
                raise
        return bool(answers)

    wait_until(done, "an answer for good")
    return answers[0]


# The broker's file, as a bad day leaves it


def half_messages(folder: Path) -> int:
    """How many half messages wait for their resolution."""
    query = "SELECT count(*) FROM entries JOIN queues ON queues.id = queue WHERE consumers = '%check-back'"
    return int(_in_broker(folder, query)[0][0])


def messages(folder: Path, topic: str, due_until: datetime) -> int:
    """How many messages of a topic are due and not handled, half messages left out."""
    query = (
        "SELECT count(*) FROM entries JOIN queues ON queues.id = queue WHERE topic = ? AND delivers = 1 AND due <= ?"
    )
    return int(_in_broker(folder, query, world_of(folder).prefix + topic, to_micros(due_until))[0][0])


def lose_messages(folder: Path, topic: str) -> None:
    """Take every message of a topic out of the broker's file."""
    with closing(sqlite3.connect(folder / "broker.db", timeout=TIMEOUT_S)) as broker, broker:
        of_topic = "DELETE FROM entries WHERE queue IN (SELECT id FROM queues WHERE topic = ?)"
        broker.execute(of_topic, (world_of(folder).prefix + topic,))


def lose_broker(folder: Path) -> None:
    """Delete the broker's file; nobody may have it open."""
    for file in folder.glob("broker.db*"):
        file.unlink()


def _in_broker(folder: Path, query: str, *values: object) -> list[Any]:
    file = f"file:{folder}/broker.db?mode=ro"
    with closing(sqlite3.connect(file, uri=True, timeout=TIMEOUT_S)) as broker:
        return broker.execute(query, values).fetchall()


class BrokerLock:
    """Keeps everybody from writing to the broker's file, or from publishing to one topic."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "broker.db"
        self._connection: sqlite3.Connection | None = None
        self._refuses = False

    def lock(self) -> None:
        self._connection = sqlite3.connect(self._file, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")

    def refuse(self, topic: str) -> None:
        """From now on the file fails those who publish to a topic, as a bad disk does; nobody is kept waiting."""
        self._refuses = True
        full_topic = world_of(self._folder).prefix + topic
        with closing(sqlite3.connect(self._file, timeout=TIMEOUT_S)) as broker:
            broker.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON entries"  # the smallest number has no abs(): an engine's error
                f" WHEN NEW.queue IN (SELECT id FROM queues WHERE topic = '{full_topic}')"
                " BEGIN SELECT abs(-9223372036854775807 - 1); END"
            )

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._refuses:
            self._refuses = False
            with closing(sqlite3.connect(self._file, timeout=TIMEOUT_S)) as broker:
                broker.execute("DROP TRIGGER refuse")


# Inventory, seen through a bad network


# As our own servers do: clients may ping.
_SERVER_OPTIONS: Final = (
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class InventoryProxy(grpc.GenericRpcHandler):
    """Passes calls on to inventory, and loses the answers it is told to lose.

    Attributes:
        address: Where it serves.
        calls: How often each method (`Sell`) was called.
        before: What to do first when a method is called: a request that is kept back arrives late, and whole.
        codes: What inventory answered, by method, in the order of its answers.
    """

    def __init__(self, inventory_address: str) -> None:
        self.calls = Counter[str]()
        self.before: dict[str, Callable[[], object]] = {}
        self.codes = defaultdict[str, list[grpc.StatusCode]](list)
        self._lost: set[str] = set()
        self._channel = grpc.insecure_channel(inventory_address)
        self._server = grpc.server(ThreadPoolExecutor(16), options=_SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def lose_answers(self, method: str) -> None:
        """From now on inventory acts on `method`, and its answer does not arrive."""
        self._lost.add(method)

    def heal(self) -> None:
        self._lost.clear()
        self.before.clear()

    def close(self) -> None:
        self._server.stop(None).wait()
        self._channel.close()

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        if path.startswith("/grpc.health."):
            return None  # a stream; who serves none counts as healthy
        return grpc.unary_unary_rpc_method_handler(lambda request, context: self._pass_on(path, request, context))

    def _pass_on(self, path: str, request: bytes, context: Any) -> Any:
        method = path.rpartition("/")[2]
        self.calls[method] += 1
        patience = context.time_remaining()  # as on the wire: so long from its arrival on
        self.before.get(method, _nothing)()
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(path)
        try:
            answer = call(request, timeout=patience, metadata=context.invocation_metadata())
        except grpc.RpcError as error:
            self.codes[method].append(error.code())
            context.set_trailing_metadata(error.trailing_metadata())
            context.abort(error.code(), error.details())
        self.codes[method].append(grpc.StatusCode.OK)
        if method in self._lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost before the answer")
        return answer


@contextmanager
def proxied(inventory_address: str) -> Iterator[InventoryProxy]:
    proxy = InventoryProxy(inventory_address)
    try:
        yield proxy
    finally:
        proxy.close()


def _nothing() -> None:
    pass
