"""CreateOrder beside its messages alone: the share that is left of what the broker and its client can do."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from typing import Final

from common.clock import SystemClock
from common.driver_url import file_url
from common.messaging.drivers import open_broker
from common.messaging.port import Broker, Message, Resolution
from common.process.cpu_affinity import set_cpu_affinity
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT
from scripts.bench.harness.figures import Target
from scripts.bench.harness.load import Kind
from scripts.bench.harness.replicas import ORDER
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER, Servers
from scripts.bench.parts.create import CREATE
from scripts.cluster.topics import make_topics
from scripts.lib.cpus import cpu_of_replica

THREADS: Final = 8
_BARE: Final = f"half message, delayed message and end, {THREADS} threads"
_CLIENT_TIME: Final = "an order's bare messages, processor time of who sends them"
_ENGINES_TIME: Final = "an order's bare messages, processor time of the engines"
_MICROSECONDS: Final = 1e6
_CALLERS: Final = 32
_PREFIX: Final = "bare-"
_NOWHERE: Final = "127.0.0.1:0"  # it serves nobody
_WARM_UP_S: Final = 0.5
_PAY_WITHIN: Final = timedelta(minutes=30)
_KEY: Final = "01M0000000000000000000000"  # as long as an order's number
_BODY: Final = b'{"order_sn": "%b", "cause": "create", "sent_time": "2026-01-01T00:00:00.000000+00:00"}' % _KEY.encode()


def messages(testbed: Testbed) -> Iterator[None]:
    """Create orders, and in turns send nothing but an order's messages, from a process of its own."""
    url = _url_of(testbed)
    rounds = Rounds(testbed)
    as_the_order_service = (cpu_of_replica(ORDER, 0), _NOWHERE)
    with ProcessPoolExecutor(1, get_context("spawn"), set_cpu_affinity, as_the_order_service) as process:

        def send() -> None:
            taken = testbed.processor_seconds()["engines"]
            sent = process.submit(send_bare, url, _PREFIX, testbed.options.seconds).result()
            engines = testbed.processor_seconds()["engines"] - taken
            rounds.note(_BARE, sent.rate)
            rounds.note(_CLIENT_TIME, sent.processor_time * _MICROSECONDS)
            rounds.note(_ENGINES_TIME, engines / sent.orders * _MICROSECONDS)
            testbed.say(f"  round {rounds.number}, {_BARE}: {sent.rate:,.0f} a second")

        def create() -> None:
            rounds.load(CREATE, testbed.full_speed(Kind.CREATE, testbed.skus, callers=_CALLERS))

        for number in rounds:
            yield
            for measure in (send, create) if number % 2 else (create, send):
                measure()
    rounds.report()
    rounds.value(_BARE, "a second")
    rounds.value(_CLIENT_TIME, "µs")
    rounds.value(_ENGINES_TIME, "µs")
    rounds.rate(CREATE)
    target = Target(at_least=1, aim=1.5) if testbed.world.name == CLUSTER else None
    rounds.ratio("CreateOrder ÷ bare messages", CREATE, _BARE, target)


def _url_of(testbed: Testbed) -> str:
    """The broker that the services use; nobody else has these topics."""
    if isinstance(testbed.world, Servers):
        make_topics(testbed.world.cluster.ports, _PREFIX)
        return testbed.world.broker_url
    return file_url("embedded", testbed.folder / "bare.db")


@dataclass(frozen=True)
class Sent:
    """What was sent.

    Attributes:
        rate: Orders' messages a second, after the warm-up.
        orders: How many orders' messages, those of the warm-up too.
        processor_time: Seconds that the sending process took for one order's messages.
    """

    rate: float
    orders: int
    processor_time: float


def send_bare(url: str, prefix: str, seconds: float, threads: int = THREADS) -> Sent:
    """Send orders' messages as fast as so many threads can.

    Half messages are rolled back and delayed ones come in half an hour, as of orders that succeed.
    """
    broker = open_broker(url, topic_prefix=prefix, clock=SystemClock())
    broker.answer_check_backs(ORDER_REBACK, lambda _: Resolution.ROLLBACK)
    counts = [0] * threads
    over = threading.Event()

    def send_again_and_again(number: int) -> None:
        while not over.is_set():
            _send_one(broker)
            counts[number] += 1

    taken = time.process_time()
    senders = [threading.Thread(target=send_again_and_again, args=(number,)) for number in range(threads)]
    for sender in senders:
        sender.start()
    time.sleep(_WARM_UP_S)
    before, began = sum(counts), time.perf_counter()
    time.sleep(seconds)
    sent, took = sum(counts) - before, time.perf_counter() - began
    over.set()
    for sender in senders:
        sender.join()
    taken = time.process_time() - taken
    broker.close()
    return Sent(sent / took, sum(counts), taken / sum(counts))


def _send_one(broker: Broker) -> None:
    def decide() -> Resolution:
        broker.publish_later(Message(ORDER_TIMEOUT, _KEY, _BODY), _PAY_WITHIN)
        return Resolution.ROLLBACK

    broker.in_transaction(Message(ORDER_REBACK, _KEY, _BODY), decide)
