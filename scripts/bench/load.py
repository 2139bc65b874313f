"""A load process: calls one method over and over and notes how long each answer took.

It speaks in bytes and with callbacks instead of threads: on a small machine a load generator takes its time from what
it measures.
"""

import random
import signal
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import cycle
from typing import Final

import grpc

from reback.inventory.v1.inventory_pb2 import SaleLine, SellRequest
from reback.order.v1.order_pb2 import CreateOrderLine, CreateOrderRequest, Recipient

_PATIENCE_S: Final = 30.0
_RECIPIENT: Final = Recipient(name="Bench", mobile="1", address="1 Bench Street")
_OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)  # else channels to one address share one connection


class Kind(Enum):
    """What is called."""

    EMPTY = "/grpc.health.v1.Health/Check"
    SELL = "/reback.inventory.v1.InventoryService/Sell"
    CREATE = "/reback.order.v1.OrderService/CreateOrder"


@dataclass(frozen=True)
class Plan:
    """What one load process is to do.

    Attributes:
        kind: What to call.
        skus: What to buy, one unit of a random one each time.
        users: Whose orders.
        callers: How many calls are under way at once; with a rate, at most.
        connections: Over how many connections.
        warm_up: Seconds of calls that are made but not measured.
        seconds: Seconds that are measured.
        count: Stop after so many calls, however long it takes; 0: `seconds` decides.
        rate: Calls a second, each due at its own moment; 0: the next one when one is answered.
        address: Whom to call, `host:port`.
        key: Makes the calls' keys (order_sn, request_id) its own; unlike that of any other plan.
        begin_at: When to begin, by the machine's clock, in seconds since 1970.
    """

    kind: Kind
    skus: tuple[str, ...] = ()
    users: range = range(1, 2)
    callers: int = 1
    connections: int = 1
    warm_up: float = 0.0
    seconds: float = 0.0
    count: int = 0
    rate: float = 0.0
    address: str = ""
    key: str = ""
    begin_at: float = 0.0


@dataclass
class Measured:
    """What one load process saw.

    Attributes:
        latencies: Seconds that each measured call took, from when it was due.
        answered: How many calls succeeded, those of the warm-up too.
        failures: How many calls failed, by code.
        seconds: How long was measured.
    """

    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def add(self, other: "Measured", *, one_after_the_other: bool) -> None:
        """Take in what another process saw meanwhile, or what was seen afterwards."""
        self.latencies.extend(other.latencies)
        self.answered += other.answered
        self.failures += other.failures
        self.seconds = self.seconds + other.seconds if one_after_the_other else max(self.seconds, other.seconds)


def be_quiet_on_ctrl_c() -> None:
    """Leave Ctrl-C to who started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def drive(plan: Plan) -> Measured:
    """Carry a plan out, in a process of its own."""
    channels = [grpc.insecure_channel(plan.address, _OWN_CONNECTION) for _ in range(plan.connections)]
    for channel in channels:
        grpc.channel_ready_future(channel).result(_PATIENCE_S)
    run = _Run(plan, [channel.unary_unary(plan.kind.value) for channel in channels])
    time.sleep(max(0.0, plan.begin_at - time.time()))
    measured = run.paced() if plan.rate else run.closed_loop()
    for channel in channels:
        channel.close()
    return measured


class _Run:
    def __init__(self, plan: Plan, calls: list["grpc.UnaryUnaryMultiCallable[bytes, bytes]"]) -> None:
        self._plan = plan
        self._next_call = cycle(calls)
        self._requests = requests(plan)
        self._measured = Measured()
        self._changing = threading.Lock()
        self._ended = threading.Semaphore(0)

    def closed_loop(self) -> Measured:
        """Keep `callers` calls under way."""
        plan = self._plan
        begin = time.perf_counter()
        measure_from = begin + plan.warm_up
        until = measure_from + plan.seconds
        left = [plan.count]

        def call_again() -> None:
            now = time.perf_counter()
            with self._changing:
                over = left[0] <= 0 if plan.count else now >= until
                left[0] -= 1
            if over:
                self._ended.release()
            else:
                self._send(due=now, measured=now >= measure_from, then=call_again)

        for _ in range(plan.callers):
            call_again()
        for _ in range(plan.callers):
            self._ended.acquire()
        self._measured.seconds = time.perf_counter() - measure_from
        return self._measured

    def paced(self) -> Measured:
        """Send each call when it is due, and wait for those under way at the end."""
        plan = self._plan
        begin = time.perf_counter()
        for _ in range(plan.callers):
            self._ended.release()
        for number in range(round(plan.rate * plan.seconds)):
            due = begin + number / plan.rate
            time.sleep(max(0.0, due - time.perf_counter()))
            self._ended.acquire()
            self._send(due=due, measured=True, then=self._ended.release)
        for _ in range(plan.callers):
            self._ended.acquire()
        self._measured.seconds = time.perf_counter() - begin
        return self._measured

    def _send(self, *, due: float, measured: bool, then: Callable[[], None]) -> None:
        with self._changing:  # answers come on several threads, one a connection
            call, request = next(self._next_call), next(self._requests)
        answer = call.future(request, timeout=_PATIENCE_S)

        def answered(ended: "grpc.Future[bytes]") -> None:
            took = time.perf_counter() - due
            code = ended.code() if isinstance(ended, grpc.Call) else None
            with self._changing:
                if code is grpc.StatusCode.OK:
                    self._measured.answered += 1
                    if measured:
                        self._measured.latencies.append(took)
                else:
                    self._measured.failures[code.name if code else "UNKNOWN"] += 1
            then()

        answer.add_done_callback(answered)


def requests(plan: Plan) -> Iterator[bytes]:
    chance = random.Random(plan.key)  # noqa: S311 the same load on every run
    number = 0
    while True:
        number += 1
        key = f"{plan.key}-{number}"
        if plan.kind is Kind.SELL:
            line = SaleLine(sku=chance.choice(plan.skus), quantity=1)
            yield SellRequest(order_sn=key, lines=[line]).SerializeToString()
        elif plan.kind is Kind.CREATE:
            yield CreateOrderRequest(
                user_id=chance.choice(plan.users),
                request_id=key,
                lines=[CreateOrderLine(sku=chance.choice(plan.skus), quantity=1)],
                recipient=_RECIPIENT,
            ).SerializeToString()
        else:
            yield b""
