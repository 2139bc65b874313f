"""Very many orders that are due at once, by the messages that close them: one for each order, or for 64 of them.

How many orders a message names depends on how many were created at once, so neither can be had by creating orders as
fast as possible. They are put into the databases, and their messages are sent from here.
"""

import json
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from itertools import islice
from multiprocessing import get_context
from typing import Final

from common.clock import SystemClock
from common.database import Database
from common.messaging.drivers import open_broker
from common.messaging.port import Message
from order_srv.domain.messages import ORDER_TIMEOUT
from scripts.bench.harness.prefill import Prefill, order_sns
from scripts.bench.harness.replicas import INVENTORY, ORDER
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.parts.unpaid import close_at_once, report_closes

TOGETHER: Final = 64
"""As many orders as a message names at most."""

_FAMILY: Final = "due"
_SKUS: Final = 1000
_USERS: Final = 100
_SENDERS: Final = 16
_PREFILLED_A_SECOND: Final = 5000.0  # orders, messages: so fast at least, or some are due before all is prepared
_SENT_A_SECOND: Final = 800.0
_READY_S: Final = 5.0


def due_singly(testbed: Testbed) -> None:
    """Let very many orders come due while the order service is down; each has a timeout message of its own."""
    _measure(testbed, 1)


def due_together(testbed: Testbed) -> None:
    """The same where a timeout message names 64 orders."""
    _measure(testbed, TOGETHER)


def _measure(testbed: Testbed, each: int) -> None:
    rounds = Rounds(testbed, testbed.options.slow_rounds)
    for number in rounds:
        if number > 1:
            testbed.restart(fresh=True)
        close_at_once(testbed, rounds, _prepare(testbed, each))
    report_closes(testbed, rounds)


def _prepare(testbed: Testbed, each: int) -> range:
    """Stop the order service and leave it orders that are due, with their timeout messages; whose orders they are."""
    count = testbed.options.due_orders
    testbed.stop(ORDER)
    users = testbed.new_users(_USERS)
    messages = math.ceil(count / each)
    pay_within = timedelta(seconds=_READY_S + count / _PREFILLED_A_SECOND + messages / _SENT_A_SECOND)
    testbed.say(f"  preparing {count:,} orders, {messages:,} messages")
    expire_time = _prefill(testbed, count, users, pay_within)
    url, prefix = testbed.world.broker(testbed.folder)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:  # the client's threads stay out of this process
        process.submit(send_timeouts, url, prefix, count, each, expire_time).result()
    left = expire_time.timestamp() - time.time()
    testbed.say(f"  all prepared; they are due in {left:.0f} s")
    time.sleep(max(0.0, left))
    return users


def _prefill(testbed: Testbed, count: int, users: range, pay_within: timedelta) -> datetime:
    urls = (testbed.database_url(service) for service in (INVENTORY, ORDER))
    inventory, order = (Database(url, connections=2) for url in urls)
    with closing(inventory), closing(order):
        prefill = Prefill(inventory, order, first_user=users.start, users=len(users), pay_within=pay_within)
        prefill.skus(math.gcd(count, _SKUS), _FAMILY)
        prefill.sales(count, _FAMILY, waiting=True)
        return prefill.expire_time


def send_timeouts(url: str, prefix: str, count: int, each: int, expire_time: datetime) -> None:
    """Send the timeout messages of so many orders, each of which names so many of them; they arrive at once."""
    broker = open_broker(url, topic_prefix=prefix, clock=SystemClock())
    messages = timeout_messages(order_sns(count, _FAMILY), each, expire_time)
    with closing(broker), ThreadPoolExecutor(_SENDERS) as senders:
        deque(senders.map(broker.publish, messages), maxlen=0)  # an exception of any is raised


def timeout_messages(names: Iterable[str], each: int, expire_time: datetime) -> Iterator[Message]:
    """The messages that say when these orders' time to be paid is over, each of so many of them."""
    left = iter(names)
    while some := list(islice(left, each)):
        body = {"expire_time": expire_time.isoformat(), "orders": [{"order_sn": name} for name in some]}
        yield Message(ORDER_TIMEOUT, some[0], json.dumps(body).encode())
