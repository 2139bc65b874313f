"""A client that the proxy does not know any more is replaced, until one is known again; and that is told."""

from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest

from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq.proxy.client import ProducerClient
from common.messaging.rocketmq.proxy.connection import Connection, ConnectionMonitor
from tests.support.waiting import wait_until

OFTEN_S = 0.02


class Proxy:
    """Stands for the proxy and the clients that it knows."""

    def __init__(self) -> None:
        self.up = True
        self.silent = False
        self.odd = False
        self.made: list[Client] = []
        self.known: set[int] = set()
        self.tries_while_down = 0

    def kill(self) -> None:
        self.up = False
        self.known.clear()

    def make(self) -> ProducerClient:
        if self.odd:
            raise KeyError("an answer that nobody expected")
        if not self.up:
            self.tries_while_down += 1
            raise BrokerUnavailable("refused")
        client = Client(self)
        self.made.append(client)
        self.known.add(id(client))
        return cast("ProducerClient", client)


class Client:
    """As much of RocketMQ's client as is looked at."""

    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy
        self.settings_came = Event()
        self.is_running = False
        self.stopped = False
        self.client_configuration = SimpleNamespace(request_timeout=0.1, rpc_endpoints="the proxy")
        self.route_manager = SimpleNamespace(get_all_endpoints=dict)
        self.rpc_client = SimpleNamespace(telemetry_write_async=self._write, stop=self._stop)

    def sync_setting_req(self, endpoints: object) -> str:
        return f"settings for {endpoints}"

    def _write(self, endpoints: object, request: object) -> "Future[Any]":
        written: Future[Any] = Future()
        if id(self) in self._proxy.known:
            written.set_result(None)
            if not self._proxy.silent:
                self.settings_came.set()
        else:
            written.set_exception(ConnectionError("the stream is broken"))
        return written

    def _stop(self) -> None:
        self.stopped = True


@pytest.fixture
def proxy() -> Proxy:
    return Proxy()


@pytest.fixture
def monitor() -> Iterator[ConnectionMonitor]:
    made = ConnectionMonitor(OFTEN_S)
    yield made
    made.close()


def kept(monitor: ConnectionMonitor, proxy: Proxy) -> Connection[ProducerClient]:
    connection = Connection("test", proxy.make)
    connection.open()
    monitor.add(connection)
    return connection


def test_a_client_that_is_known_is_kept(monitor: ConnectionMonitor, proxy: Proxy) -> None:
    connection, told = kept(monitor, proxy), list[bool]()
    monitor.reachability.add_listener(told.append)

    looked = Event()
    proxy.made[0].sync_setting_req = lambda endpoints: looked.set()  # type: ignore[assignment, return-value, method-assign]
    assert looked.wait(5)

    assert connection.client is cast("ProducerClient", proxy.made[0])
    assert told == []


def test_a_proxy_that_came_back_without_a_word_gets_a_new_client(monitor: ConnectionMonitor, proxy: Proxy) -> None:
    connection = kept(monitor, proxy)

    proxy.known.clear()  # it forgot, and is there

    wait_until(lambda: len(proxy.made) == 2, "a new client")
    wait_until(lambda: connection.client is cast("ProducerClient", proxy.made[1]), "the new client")


def test_a_proxy_that_takes_settings_and_never_answers_is_no_proxy(monitor: ConnectionMonitor, proxy: Proxy) -> None:
    kept(monitor, proxy)

    proxy.silent = True

    wait_until(lambda: len(proxy.made) > 1, "a new client")


def test_while_it_is_away_calls_fail_and_that_is_reported_once(monitor: ConnectionMonitor, proxy: Proxy) -> None:
    told: list[bool] = []
    monitor.reachability.add_listener(told.append)
    connection = kept(monitor, proxy)

    proxy.kill()
    wait_until(lambda: told == [False], "told that it is cut off")
    with pytest.raises(BrokerUnavailable, match="unreachable"):
        _ = connection.client
    wait_until(lambda: proxy.tries_while_down >= 2, "that it is tried again")
    proxy.up = True

    wait_until(lambda: told == [False, True], "told that it is back")
    assert connection.client is cast("ProducerClient", proxy.made[-1])


def test_calls_that_fail_do_not_hurry_it_while_it_is_away(monitor: ConnectionMonitor, proxy: Proxy) -> None:
    told: list[bool] = []
    monitor.reachability.add_listener(told.append)
    kept(monitor, proxy)
    proxy.kill()
    wait_until(lambda: told == [False], "told that it is cut off")

    for _ in range(1000):
        monitor.check_now()
    wait_until(lambda: proxy.tries_while_down >= 3, "that it is tried again")

    assert proxy.tries_while_down < 10


def test_one_of_two_that_is_away_means_cut_off_and_the_other_is_looked_after(
    monitor: ConnectionMonitor, proxy: Proxy
) -> None:
    told: list[bool] = []
    monitor.reachability.add_listener(told.append)
    other = Proxy()
    kept(monitor, proxy)
    second = kept(monitor, other)

    proxy.kill()
    wait_until(lambda: told == [False], "told that it is cut off")
    other.known.clear()

    wait_until(lambda: len(other.made) == 2, "a new client of the other")
    wait_until(lambda: second.client is cast("ProducerClient", other.made[1]), "the new client of the other")
    assert told == [False]


def test_a_client_that_cannot_be_made_for_any_reason_does_not_end_it(monitor: ConnectionMonitor, proxy: Proxy) -> None:
    connection = kept(monitor, proxy)
    make, on_failure = proxy.make, Event()

    def fail() -> ProducerClient:
        on_failure.set()
        raise RuntimeError("a bug of the client")

    connection._make = fail
    proxy.known.clear()
    assert on_failure.wait(5)
    connection._make = make

    wait_until(lambda: len(proxy.made) == 2, "a new client")


def test_close_stops_every_client(proxy: Proxy) -> None:
    monitor = ConnectionMonitor(OFTEN_S)
    kept(monitor, proxy)
    proxy.known.clear()
    wait_until(lambda: len(proxy.made) == 2, "a new client")

    monitor.close()

    assert [client.stopped for client in proxy.made] == [True, True]


def test_a_client_that_can_not_be_replaced_is_not_handed_out_while_it_is_stopped(
    monitor: ConnectionMonitor, proxy: Proxy
) -> None:
    connection = kept(monitor, proxy)
    proxy.odd = True
    proxy.kill()

    wait_until(lambda: connection._client is None, "the old client is gone")
    with pytest.raises(BrokerUnavailable):
        _ = connection.client

    proxy.odd, proxy.up = False, True
    wait_until(lambda: connection._client is not None, "there is a new one")
