"""Services in a Consul agent: registered with a health check, and watched by blocking queries.

    register ──▶ agent: here we are, ask our gRPC health every 2 s
                 monitor, each second: still known there? If not (the agent came back without its data): register again
    watch    ──▶ agent: who passes? ── an answer at once, then one whenever that changes ──▶ on_change

The agent is asked for nothing else: while it is down everybody goes on with the last list, and who registers or
deregisters is not kept waiting for longer than the URL's timeout.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any, Final

import consul
import structlog

from common.addresses import split_address
from common.discovery.consul.url import ConsulUrl
from common.discovery.port import Addresses, Discovery

_KEEP_EVERY: Final = 1.0  # seconds between two looks of the monitor
_SHORTEST_PAUSE: Final = 0.05  # seconds between two questions of a watch: a busy registry is not asked in a circle
_FIRST_BACKOFF: Final = 0.1
_LONGEST_BACKOFF: Final = 2.0

# What the agent's absence or refusal looks like: requests' errors are OSErrors.
_FAILURES: Final = (OSError, consul.ConsulException)

log = structlog.get_logger(__name__)


class ConsulDiscovery(Discovery):
    """Registers with a Consul agent and follows what it knows.

    Nothing here fails because the agent is down: a registration is made up for when it is back, and a watch that has
    no answer yet knows nobody.
    """

    def __init__(self, url: ConsulUrl) -> None:
        self._url = url
        self._monitor = _RegistrationMonitor(url)
        self._watches: list[_Watch] = []

    def register(self, service: str, address: str) -> None:
        """Others find it when it has passed its first check.

        `address` must serve gRPC's health service, and the agent must reach it.
        """
        self._monitor.add(_Instance(service, *_host_and_port(address)))

    def deregister(self, service: str, address: str) -> None:
        self._monitor.remove(_Instance(service, *_host_and_port(address)))

    def watch(self, service: str, on_change: Callable[[Addresses], None]) -> None:
        """An `on_change` that raises is called again a moment later."""
        watch = _Watch(self._url, service, on_change)
        self._watches.append(watch)
        watch.begin()

    def close(self) -> None:
        for watch in self._watches:
            watch.end()
        self._monitor.close()


@dataclass(frozen=True, slots=True)
class _Instance:
    """What is registered: a service at a place."""

    service: str
    host: str
    port: int

    @property
    def id(self) -> str:
        """The same after a restart at the same place, so that it takes its old entry over."""
        return f"{self.service}-{self.host}-{self.port}"

    @property
    def address(self) -> str:
        return _address(self.host, self.port)


class _RegistrationMonitor:
    """Sees to it that the agent knows what is registered here, also after it forgot."""

    def __init__(self, url: ConsulUrl) -> None:
        self._agent = _client(url)
        self._check = _check(url)
        self._wanted: dict[str, _Instance] = {}
        self._registered: set[str] = set()  # ids that the agent took once, whatever it still knows
        # One question at a time: a session is no two threads', and no registration may overtake its removal.
        self._asking = Lock()
        self._in_reach = True
        self._closed = Event()
        self._thread: Thread | None = None

    def add(self, instance: _Instance) -> None:
        with self._asking:
            self._wanted[instance.id] = instance
            self._attempt(lambda: self._register(instance))
            if self._thread is None:
                self._thread = Thread(target=self._keep, name="consul-monitor", daemon=True)
                self._thread.start()

    def remove(self, instance: _Instance) -> None:
        with self._asking:
            if self._wanted.pop(instance.id, None) is None:
                return
            try:
                self._agent.agent.service.deregister(instance.id)
            except _FAILURES as error:  # its check will fail, and Consul removes it by itself
                log.warning("not deregistered", service=instance.service, address=instance.address, error=str(error))

    def close(self) -> None:
        self._closed.set()
        for instance in list(self._wanted.values()):
            self.remove(instance)
        if self._thread is not None:
            self._thread.join()
        self._agent.http.session.close()

    def _keep(self) -> None:
        while not self._closed.wait(_jittered(_KEEP_EVERY)):
            with self._asking:
                self._attempt(self._make_up)

    def _make_up(self) -> None:
        """Register again whom the agent does not know."""
        for instance in self._wanted.values():
            if instance.id not in self._agent.agent.services(filter_expr=f'ID == "{instance.id}"'):
                # Whom the agent forgot has served all the while: callers do not wait for another first check.
                status = {"status": "passing"} if instance.id in self._registered else {}
                self._register(instance, **status)

    def _register(self, instance: _Instance, **check: str) -> None:
        self._agent.agent.service.register(
            instance.service,
            service_id=instance.id,
            address=instance.host,
            port=instance.port,
            # No service in it: the health of the whole server.
            check={**self._check, "grpc": instance.address, **check},
            replace_existing_checks=True,
        )
        self._registered.add(instance.id)
        log.info("registered", service=instance.service, address=instance.address)

    def _attempt(self, ask: Callable[[], None]) -> None:
        """Ask the agent; say once that it is out of reach, and once that it is back."""
        try:
            ask()
        except _FAILURES as error:
            if self._in_reach:
                log.warning("not registered until the registry is back", error=str(error))
            self._in_reach = False
        else:
            if not self._in_reach:
                log.info("the registry is back")
            self._in_reach = True


class _Watch:
    """Follows one service: asks, in a thread of its own, with a question that the agent holds until something changes.

    The thread is a daemon and `end` does not wait for it: nothing interrupts a question that is held.
    """

    def __init__(self, url: ConsulUrl, service: str, on_change: Callable[[Addresses], None]) -> None:
        self._agent = _client(url)
        self._service = service
        self._on_change = on_change
        self._wait = _go_duration(url.wait.total_seconds())
        self._index: int | None = None  # what the last answer was made of; None: ask for an answer at once
        self._told: Addresses | None = None
        self._failures = 0
        self._ended = Event()

    def begin(self) -> None:
        """Tell what is known now, then follow."""
        self._look()
        if self._told is None:
            self._tell(())
        Thread(target=self._follow, name=f"consul-watch-{self._service}", daemon=True).start()

    def end(self) -> None:
        self._ended.set()

    def _follow(self) -> None:
        while not self._ended.wait(self._pause()):
            self._look()
        self._agent.http.session.close()

    def _look(self) -> None:
        """Ask once and tell what is new."""
        try:
            index, addresses = _read(
                self._agent.health.service(self._service, index=self._index, wait=self._wait, passing=True)
            )
            if not self._ended.is_set():
                self._tell(addresses)
            self._index = _next_index(self._index, index)
        except Exception as error:  # noqa: BLE001 - also of who is told: a list that can't be used must not end the watch
            if not self._failures and not self._ended.is_set():
                log.warning("the last list stays", service=self._service, error=f"{type(error).__name__}: {error}")
            self._failures += 1
            self._index = None  # it may come back with other data, and count anew
        else:
            self._failures = 0

    def _tell(self, addresses: Addresses) -> None:
        if addresses == self._told or (self._told and not addresses):
            return
        self._on_change(addresses)
        self._told = addresses

    def _pause(self) -> float:
        if not self._failures:
            return _SHORTEST_PAUSE
        return _jittered(min(_LONGEST_BACKOFF, _FIRST_BACKOFF * 2 ** min(self._failures - 1, 10)))


def _client(url: ConsulUrl) -> consul.Consul:
    """A client for one thread at a time."""
    client = consul.Consul(
        host=_bracketed(url.host),
        port=url.port,
        scheme="https" if url.tls else "http",
        dc=url.dc,
        verify=url.tls_ca or True,
        cert=(url.tls_cert, url.tls_key) if url.tls_cert else None,
        connections_timeout=url.timeout.total_seconds(),
    )
    if url.token:
        client.token = url.token.get_secret_value()  # given as an argument it would lose against CONSUL_HTTP_TOKEN
    client.http.session.trust_env = False  # no proxy between a service and its agent
    return client


def _check(url: ConsulUrl) -> Mapping[str, str]:
    """Consul's own gRPC health check; who to ask is still missing."""
    return {
        "interval": _go_duration(url.interval.total_seconds()),
        "timeout": _go_duration(url.check_timeout.total_seconds()),
        "DeregisterCriticalServiceAfter": _go_duration(url.deregister_after.total_seconds()),
    }


def _go_duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _read(answer: Any) -> tuple[int, Addresses]:
    """The index of an answer about a service's health, and the addresses in it.

    Raises:
        ConsulException: It is no such answer.
    """
    try:
        index, entries = answer
        return int(index), tuple(sorted({_address_of(entry) for entry in entries}))
    except (KeyError, TypeError, ValueError) as error:
        raise consul.ConsulException(f"not an answer of Consul: {error!r}") from error


def _next_index(last: int | None, answered: int) -> int | None:
    """What to wait beyond; None, to begin anew, where the index went back.

    Source: "Implementation Details" at developer.hashicorp.com/consul/api-docs/features/blocking.
    """
    return None if answered < max(1, last or 0) else answered


def _address_of(entry: Mapping[str, Any]) -> str:
    """Where an instance is: what it registered, or else its agent's machine."""
    service = entry["Service"]
    return _address(service["Address"] or entry["Node"]["Address"], service["Port"])


def _host_and_port(address: str) -> tuple[str, int]:
    host, port = split_address(address)
    return host.strip("[]"), port


def _address(host: str, port: int) -> str:
    return f"{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _jittered(seconds: float) -> float:
    """Half of it to all of it, by chance: many that lost the same registry do not come back at once."""
    return seconds * random.uniform(0.5, 1.0)  # noqa: S311 no secret
