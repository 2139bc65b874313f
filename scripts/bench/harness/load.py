"""A load process: calls one method over and over and notes how long each answer took.

It speaks in bytes, by one thread for all callers, and makes its requests before it begins: on a small machine a load
generator takes its time from what it measures.
"""

import asyncio
import random
import signal
import time
from array import array
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import count, cycle, islice
from typing import Final

import grpc

from reback.inventory.v1.inventory_pb2 import BatchGetStocksRequest, GetStockRequest, SaleLine, SellRequest
from reback.order.v1.order_pb2 import CreateOrderLine, CreateOrderRequest, ListOrdersRequest, Recipient

TIMEOUT_S: Final = 30.0
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
    BATCH_GET = "/reback.inventory.v1.InventoryService/BatchGetStocks"
    CREATE = "/reback.order.v1.OrderService/CreateOrder"
    LIST_ORDERS = "/reback.order.v1.OrderService/ListOrders"

    @property
    def asks_order(self) -> bool:
        """Whether the order service is called; else inventory."""
        return self.value.startswith("/reback.order.")


@dataclass(frozen=True)
class Plan:
    """What one load process is to do.

    Attributes:
        kind: What to call.
        skus: What to buy, one unit of a random one each time.
        users: Whose orders; those of a random one are listed, the newest alone.
        callers: How many calls are under way at once; with a rate, at most.
        connections: Over how many connections.
        warm_up: Seconds of calls that are made but not measured.
        seconds: Seconds that are measured.
        count: Stop after so many calls, however long it takes; 0: `seconds` decides.
        rate: Calls a second, each due at its own moment; 0: the next one when one is answered.
        lines: Of how many neighbouring skus each order, sale or batch is.
        expect: The code with which calls are to end.
        addresses: Whom to call, `host:port`, the connections in turn; empty: the testbed knows.
        apart: Whether each address is asked for one sku alone: the first address for the first sku, and so on.
        key: Makes the calls' keys (order_sn, request_id) its own; unlike that of any other plan.
        moments: Whether to note when each measured call was answered.
        begin_at: When to begin, by the machine's clock, in seconds since 1970; one that is past: at once.
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
    apart: bool = False
    key: str = ""
    moments: bool = False
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
        moments: When each measured call was answered, in seconds since 1970; empty unless the plan asks for it.
    """

    latencies: "array[float]" = field(default_factory=lambda: array("d"))
    answered: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    moments: "array[float]" = field(default_factory=lambda: array("d"))

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
        self.moments.extend(other.moments)
        self.answered += other.answered
        self.failures += other.failures
        self.cpu = {who: self.cpu.get(who, 0.0) + other.cpu.get(who, 0.0) for who in self.cpu | other.cpu}
        self.seconds = self.seconds + other.seconds if one_after_the_other else max(self.seconds, other.seconds)


def be_quiet_on_ctrl_c() -> None:
    """Leave Ctrl-C to who started this process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def drive(plan: Plan) -> Measured:
    """Carry a plan out, in a process of its own."""
    return asyncio.run(_drive(plan))


async def _drive(plan: Plan) -> Measured:
    addresses = list(islice(cycle(plan.addresses), plan.connections))
    async with AsyncExitStack() as opened:
        channels = [
            await opened.enter_async_context(grpc.aio.insecure_channel(address, _OWN_CONNECTION))
            for address in addresses
        ]
        for channel in channels:
            await asyncio.wait_for(channel.channel_ready(), TIMEOUT_S)
        asked = requests_by_address(plan)
        connected = zip(channels, addresses, strict=True)
        stubs: list[_Stub] = [(channel.unary_unary(plan.kind.value), asked[address]) for channel, address in connected]
        run = _Run(plan, stubs)
        await asyncio.sleep(max(0.0, plan.begin_at - time.time()))
        taken = time.process_time()
        measured = await (run.paced() if plan.rate else run.closed_loop())
        measured.cpu["load"] = time.process_time() - taken
        return measured


_Stub = tuple["grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]", Callable[[], bytes]]
"""Begins a call over one connection, and gives it its request."""


class _Run:
    """Carries out a plan, its calls by each of these stubs in turn."""

    def __init__(self, plan: Plan, stubs: list[_Stub]) -> None:
        self._plan = plan
        self._stubs = cycle(stubs)
        self._latencies = array("d")
        self._moments = array("d")
        self._answered = 0
        self._failures: Counter[str] = Counter()

    async def closed_loop(self) -> Measured:
        """Keep `callers` calls under way; each caller makes one that is measured, however long those before it take."""
        plan = self._plan
        measure_from = time.perf_counter() + plan.warm_up
        until = measure_from + plan.seconds
        numbers = count()

        async def call_again_and_again() -> None:
            measured = False
            while True:
                now = time.perf_counter()
                if next(numbers) >= plan.count if plan.count else now >= until and measured:
                    return
                measured = now >= measure_from
                await self._call(due=now, measured=measured)

        await asyncio.gather(*(call_again_and_again() for _ in range(plan.callers)))
        return self._measured(time.perf_counter() - measure_from)

    async def paced(self) -> Measured:
        """Send each call when it is due, and wait for those under way at the end."""
        plan = self._plan
        begin = time.perf_counter()
        measure_from = begin + plan.warm_up
        room = asyncio.Semaphore(plan.callers)

        async def call_once(due: float) -> None:
            await self._call(due=due, measured=due >= measure_from)
            room.release()

        async with asyncio.TaskGroup() as under_way:
            for number in range(round(plan.rate * (plan.warm_up + plan.seconds))):
                due = begin + number / plan.rate
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                await room.acquire()
                under_way.create_task(call_once(due))
        return self._measured(time.perf_counter() - measure_from)

    async def _call(self, *, due: float, measured: bool) -> None:
        begin, next_request = next(self._stubs)
        call = begin(next_request(), timeout=TIMEOUT_S)
        expected = self._plan.expect
        code = grpc.StatusCode.OK
        if expected is code:
            try:
                await call
            except grpc.aio.AioRpcError as error:
                code = error.code()
        else:
            code = await call.code()  # no exception for what is expected
        took = time.perf_counter() - due
        if code is not expected:
            self._failures[code.name] += 1
            return
        self._answered += 1
        if measured:
            self._latencies.append(took)
            if self._plan.moments:
                self._moments.append(time.time())

    def _measured(self, seconds: float) -> Measured:
        return Measured(self._latencies, self._answered, self._failures, seconds, moments=self._moments)


def requests_by_address(plan: Plan) -> Mapping[str, Callable[[], bytes]]:
    """What gives a request a call, see `requests`, for each address of a plan.

    Raises:
        ValueError: The addresses are asked apart, and there are not as many skus.
    """
    if not plan.apart:
        return dict.fromkeys(plan.addresses, requests(plan))
    return {
        address: requests(replace(plan, skus=(sku,), key=f"{plan.key}-{number}"))
        for number, (address, sku) in enumerate(zip(plan.addresses, plan.skus, strict=True))
    }


def requests(plan: Plan) -> Callable[[], bytes]:
    """What gives a serialized request a call, each with a key of its own; from any thread.

    All but the key is serialized beforehand: parts of a message one after the other are that message.
    """
    if plan.kind is Kind.EMPTY:
        return lambda: b""
    chance = random.Random(plan.key)  # noqa: S311 the same load on every run
    tails = cycle([_without_key(plan, chance) for _ in range(max(1, _DIFFERENT // plan.lines))])
    if plan.kind in {Kind.GET, Kind.BATCH_GET, Kind.LIST_ORDERS}:
        return lambda: next(tails)
    name = plan.key.encode()
    tag = _KEY_OF_CREATE if plan.kind is Kind.CREATE else _FIRST_FIELD
    head = tag + bytes([len(name) + _SIGNS_OF_NUMBER]) + name
    numbers = count(1)
    return lambda: b"%b-%08d%b" % (head, next(numbers), next(tails))


def _without_key(plan: Plan, chance: random.Random) -> bytes:
    if plan.kind is Kind.LIST_ORDERS:
        return ListOrdersRequest(user_id=chance.choice(plan.users), page_size=1).SerializeToString()
    first = chance.randrange(len(plan.skus))
    skus = [plan.skus[(first + number) % len(plan.skus)] for number in range(plan.lines)]
    if plan.kind is Kind.GET:
        return GetStockRequest(sku=skus[0]).SerializeToString()
    if plan.kind is Kind.BATCH_GET:
        return BatchGetStocksRequest(skus=skus).SerializeToString()
    if plan.kind is Kind.SELL:
        return SellRequest(lines=[SaleLine(sku=sku, quantity=1) for sku in skus]).SerializeToString()
    return CreateOrderRequest(
        user_id=chance.choice(plan.users),
        lines=[CreateOrderLine(sku=sku, quantity=1) for sku in skus],
        recipient=_RECIPIENT,
    ).SerializeToString()
