import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from common.clock import DatabaseClock
from common.errors import Unavailable
from tests.support.waiting import TIMEOUT_S

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Server:
    """A server and the way to it.

    Attributes:
        ticks: Seconds since this machine was started; the server's time runs as fast.
        ahead: How far its time is ahead of `NOON` when `ticks` is 0.
        way_there, way_back: How long the next questions and answers travel, in seconds.
    """

    def __init__(self) -> None:
        self.ticks = 1000.0
        self.ahead = timedelta(0)
        self.way_there = self.way_back = 0.0
        self.down = False
        self.asked = threading.Event()

    def monotonic(self) -> float:
        return self.ticks

    @property
    def time(self) -> datetime:
        return NOON + self.ahead + self.ticks * SECOND

    def tell(self) -> datetime:
        self.asked.set()
        if self.down:
            raise Unavailable("down")
        self.ticks += self.way_there
        answer = self.time
        self.ticks += self.way_back
        return answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def clock(server: Server) -> Iterator[DatabaseClock]:
    made = DatabaseClock(server.tell, every=timedelta(milliseconds=5), monotonic=server.monotonic)
    yield made
    made.close()


def test_it_tells_the_servers_time_however_wrong_this_machines_is(server: Server, clock: DatabaseClock) -> None:
    clock.set()
    assert clock.now() == server.time

    server.ticks += 600
    assert clock.now() == server.time


def test_until_it_is_set_it_tells_this_machines_time(clock: DatabaseClock) -> None:
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_the_way_there_and_back_does_not_make_it_wrong(server: Server, clock: DatabaseClock) -> None:
    server.way_there = server.way_back = 0.2
    clock.set()

    assert abs(clock.now() - server.time) < timedelta(milliseconds=1)


def test_a_slow_answer_makes_it_wrong_by_no_more_than_half_of_the_quickest(
    server: Server, clock: DatabaseClock
) -> None:
    server.way_back = 0.1
    clock.set()

    assert abs(clock.now() - server.time) <= timedelta(milliseconds=51)


def test_it_never_goes_back_and_goes_on_when_the_servers_time_has_come(server: Server, clock: DatabaseClock) -> None:
    clock.set()
    before = clock.now()
    server.ahead -= timedelta(seconds=10)
    clock.set()
    assert clock.now() == before

    server.ticks += 9
    assert clock.now() == before
    server.ticks += 2
    assert clock.now() == server.time == before + SECOND


def test_it_follows_a_server_that_is_set_forward(server: Server, clock: DatabaseClock) -> None:
    clock.set()
    server.ahead += timedelta(minutes=10)
    clock.set()

    assert clock.now() == server.time


def test_it_runs_on_while_the_server_is_down_and_is_set_again_by_itself(server: Server, clock: DatabaseClock) -> None:
    clock.start()
    server.down = True
    server.asked.clear()
    assert server.asked.wait(TIMEOUT_S)
    answer = clock.now()
    server.ticks += 5
    assert clock.now() == answer + 5 * SECOND

    server.ahead += timedelta(minutes=1)
    server.down = False
    deadline = threading.Event()
    for _ in range(int(TIMEOUT_S / 0.01)):
        if clock.now() == server.time:
            break
        deadline.wait(0.01)
    assert clock.now() == server.time


def test_who_starts_it_is_told_when_the_server_can_not_be_asked(server: Server, clock: DatabaseClock) -> None:
    server.down = True

    with pytest.raises(Unavailable):
        clock.start()


def test_it_may_be_closed_without_having_been_started(clock: DatabaseClock) -> None:
    clock.close()
