"""A load process: calls one method over and over and notes how long each answer took.

It speaks in bytes and with callbacks instead of threads, and makes its requests before it begins: on a small machine a
load generator takes its time from what it measures.
"""

import random
import signal
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count, cycle
from typing import Final

import grpc

from reback.inventory.v1.inventory_pb2 import GetStockRequest, SaleLine, SellRequest
from reback.order.v1.order_pb2 import CreateOrderLine, CreateOrderRequest, Recipient

PATIENCE_S: Final = 30.0
"""How long a load waits for one answer."""

_RECIPIENT: Final = Recipient(name="Bench", mobile="1", address="1 Bench Street")
_OWN_CONNECTION: Final = (("grpc.use_local_subchannel_pool", 1),)  # else channels to one address share one connection
_DIFFERENT: Final = 8192  # requests made beforehand; they differ in sku, lines and user
_FIRST_FIELD: Final = b"\x0a"  # a text as field 1, where the key of each of these requests is …
_KEY_OF_CREATE: Final = b"\x12"  # … but for CreateOrder, where it is field 2
_SIGNS_OF_NUMBER: Final = 9


class Kind(Enum):
    """What is called."""

    EMPTY = "/grpc.health.v1.Health/Check"
    SELL = "/reback.inventory.v1.InventoryService/Sell"
    GET = "/reback.inventory.v1.InventoryService/GetStock"
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
        lines: Of how many neighbouring skus each order or sale is.
        expect: The code with which calls are to end.
        addresses: Whom to call, `host:port`, the connections in turn; empty: the site knows.
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
    lines: int = 1
    expect: grpc.StatusCode = grpc.StatusCode.OK
    addresses: tuple[str, ...] = ()
    key: str = ""
    begin_at: float = 0.0

    @property
    def how(self) -> str:
        """By how many callers, or at which rate, for a person."""
        connections = f"{self.connections} connection{'s' if self.connections > 1 else ''}"
        if self.rate:
            return f"open loop, {connections}"
        return f"{self.callers} caller{'s' if self.callers > 1 else ''}, {connections}"


@dataclass
class Measured:
    """What one load process saw.

    Attributes:
        latencies: Seconds that each measured call took, from when it was due.
        answered: How many calls ended as expected, those of the warm-up too.
        failures: How many calls ended otherwise, by code.
        seconds: How long was measured.
        cpu: Processor time that was taken meanwhile, in seconds, by whom (`load`, `service`, `engines`), for all calls.
    """

    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)

    @property
    def calls(self) -> int:
        """All that were made, those of the warm-up too."""
        return self.answered + self.failures.total()

    @property
    def rate(self) -> float:
        """Measured calls that ended as expected, a second."""
        return len(self.latencies) / self.seconds

    def add(self, other: "Measured", *, one_after_the_other: bool) -> None:
        """Take in what another process saw meanwhile, or what was seen afterwards."""
        self.latencies.extend(other.latencies)
        self.answered += other.answered
        self.failures += other.failures
        self.cpu = {who: self.cpu.get(who, 0.0) + other.cpu.get(who, 0.0) for who in self.cpu | other.cpu}
        self.seconds = self.seconds + other.seconds if one_after_the_other else max(self.seconds, other.seconds)


def be_quiet_on_ctrl_c() -> None:
    """Leave Ctrl-C to who started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def drive(plan: Plan) -> Measured:
    """Carry a plan out, in a process of its own."""
    addresses = cycle(plan.addresses)
    channels = [grpc.insecure_channel(next(addresses), _OWN_CONNECTION) for _ in range(plan.connections)]
    for channel in channels:
        grpc.channel_ready_future(channel).result(PATIENCE_S)
    run = _Run(plan, [channel.unary_unary(plan.kind.value) for channel in channels])
    time.sleep(max(0.0, plan.begin_at - time.time()))
    taken = time.process_time()
    measured = run.paced() if plan.rate else run.closed_loop()
    measured.cpu["load"] = time.process_time() - taken
    for channel in channels:
        channel.close()
    return measured


class _Run:
    """Carries out a plan. What its callbacks share changes by single operations of C, which need no lock."""

    def __init__(self, plan: Plan, calls: list["grpc.UnaryUnaryMultiCallable[bytes, bytes]"]) -> None:
        self._plan = plan
        self._next_call = cycle(calls)
        self._next_request = requests(plan)
        self._latencies = array("d")
        self._codes: list[grpc.StatusCode | None] = []
        self._ended = threading.Semaphore(0)

    def closed_loop(self) -> Measured:
        """Keep `callers` calls under way."""
        plan = self._plan
        begin = time.perf_counter()
        measure_from = begin + plan.warm_up
        until = measure_from + plan.seconds
        numbers = count()

        def call_again() -> None:
            now = time.perf_counter()
            if next(numbers) >= plan.count if plan.count else now >= until:
                self._ended.release()
            else:
                self._send(due=now, measured=now >= measure_from, then=call_again)

        for _ in range(plan.callers):
            call_again()
        for _ in range(plan.callers):
            self._ended.acquire()
        return self._measured(time.perf_counter() - measure_from)

    def paced(self) -> Measured:
        """Send each call when it is due, and wait for those under way at the end."""
        plan = self._plan
        begin = time.perf_counter()
        measure_from = begin + plan.warm_up
        for _ in range(plan.callers):
            self._ended.release()
        for number in range(round(plan.rate * (plan.warm_up + plan.seconds))):
            due = begin + number / plan.rate
            time.sleep(max(0.0, due - time.perf_counter()))
            self._ended.acquire()
            self._send(due=due, measured=due >= measure_from, then=self._ended.release)
        for _ in range(plan.callers):
            self._ended.acquire()
        return self._measured(time.perf_counter() - measure_from)

    def _send(self, *, due: float, measured: bool, then: Callable[[], None]) -> None:
        expected = self._plan.expect

        def answered(ended: "grpc.Future[bytes]") -> None:
            took = time.perf_counter() - due
            code = ended.code()  # type: ignore[attr-defined]  # it is a grpc.Call too
            self._codes.append(code)
            if measured and code is expected:
                self._latencies.append(took)
            then()

        call = next(self._next_call)
        call.future(self._next_request(), timeout=PATIENCE_S).add_done_callback(answered)

    def _measured(self, seconds: float) -> Measured:
        codes = Counter(code.name if code else "UNKNOWN" for code in self._codes)
        answered = codes.pop(self._plan.expect.name, 0)
        return Measured(self._latencies, answered, codes, seconds)


def requests(plan: Plan) -> Callable[[], bytes]:
    """What gives a serialized request a call, each with a key of its own; from any thread.

    All but the key is serialized beforehand: parts of a message one after the other are that message.
    """
    if plan.kind is Kind.EMPTY:
        return lambda: b""
    chance = random.Random(plan.key)  # noqa: S311 the same load on every run
    tails = cycle([_without_key(plan, chance) for _ in range(max(1, _DIFFERENT // plan.lines))])
    if plan.kind is Kind.GET:
        return lambda: next(tails)
    name = plan.key.encode()
    tag = _KEY_OF_CREATE if plan.kind is Kind.CREATE else _FIRST_FIELD
    head = tag + bytes([len(name) + _SIGNS_OF_NUMBER]) + name
    numbers = count(1)
    return lambda: b"%b-%08d%b" % (head, next(numbers), next(tails))


def _without_key(plan: Plan, chance: random.Random) -> bytes:
    first = chance.randrange(len(plan.skus))
    skus = [plan.skus[(first + number) % len(plan.skus)] for number in range(plan.lines)]
    if plan.kind is Kind.GET:
        return GetStockRequest(sku=skus[0]).SerializeToString()
    if plan.kind is Kind.SELL:
        return SellRequest(lines=[SaleLine(sku=sku, quantity=1) for sku in skus]).SerializeToString()
    return CreateOrderRequest(
        user_id=chance.choice(plan.users),
        lines=[CreateOrderLine(sku=sku, quantity=1) for sku in skus],
        recipient=_RECIPIENT,
    ).SerializeToString()
