"""Another process for the contract suite: `worker.py URL PREFIX ROLE TOPIC [MORE]`.

It tells what happens in lines of JSON on its standard output, and closes its broker when its standard input ends.

    consume TOPIC GROUP          handles at once
    hang TOPIC GROUP             never comes back from its first handler
    hold TOPIC GROUP             handles until a line comes in, at the first try
    half TOPIC KEY               sends a half message and never answers
    answer TOPIC RESOLUTION      answers check-backs
    publish TOPIC THREADS EACH   publishes from many threads: keys `pid-thread-number`
    stream TOPIC THREADS         publishes from many threads without end, and tells each key
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from threading import Event, Lock, Thread

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker, Delivery, Message, Resolution
from common.process.logs import set_up_logs

_printing = Lock()
_line_came = Event()


def tell(event: str, **facts: object) -> None:
    line = json.dumps({"event": event, "time": time.time(), "pid": os.getpid(), **facts}) + "\n"
    with _printing:
        sys.stdout.write(line)
        sys.stdout.flush()


def consume(broker: Broker, topic: str, group: str) -> None:
    broker.subscribe(topic, group, lambda delivery: told(delivery, "got"))
    broker.start()


def hang(broker: Broker, topic: str, group: str) -> None:
    def handle(delivery: Delivery) -> None:
        told(delivery, "hangs")
        Event().wait()

    broker.subscribe(topic, group, handle)
    broker.start()


def hold(broker: Broker, topic: str, group: str) -> None:
    def handle(delivery: Delivery) -> None:
        if delivery.attempt == 1:
            told(delivery, "holds")
            _line_came.wait()
        told(delivery, "lets go")

    broker.subscribe(topic, group, handle)
    broker.start()


def told(delivery: Delivery, event: str) -> None:
    tell(event, key=delivery.message.key, attempt=delivery.attempt)


def half(broker: Broker, topic: str, key: str) -> None:
    def decide() -> Resolution:
        tell("half sent", key=key)
        Event().wait()
        return Resolution.COMMIT

    broker.in_transaction(Message(topic, key, b""), decide)


def answer(broker: Broker, topic: str, resolution: str) -> None:
    def check(message: Message) -> Resolution:
        tell("check-back", key=message.key)
        return Resolution(resolution)

    broker.answer_check_backs(topic, check)
    broker.start()


def publish(broker: Broker, topic: str, threads: str, each: str) -> None:
    def send(thread: int) -> None:
        for number in range(int(each)):
            broker.publish(Message(topic, f"{os.getpid()}-{thread}-{number}", b"body"))

    senders = [Thread(target=send, args=(number,)) for number in range(int(threads))]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    tell("published")


def stream(broker: Broker, topic: str, threads: str) -> None:
    def send(thread: int) -> None:
        for number in itertools.count():
            key = f"{os.getpid()}-{thread}-{number}"
            broker.publish(Message(topic, key, b"body"))
            tell("sent", key=key)

    for number in range(int(threads)):
        Thread(target=send, args=(number,), daemon=True).start()


ROLES: dict[str, Callable[..., None]] = {
    role.__name__: role for role in (consume, hang, hold, half, answer, publish, stream)
}


def main(url: str, prefix: str, role: str, *arguments: str) -> None:
    set_up_logs(role)  # to stderr: stdout is for what happens
    broker = open_broker(url, topic_prefix=prefix, clock=SystemClock())
    ROLES[role](broker, *arguments)
    tell("ready")
    for _ in sys.stdin:
        _line_came.set()
    broker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
