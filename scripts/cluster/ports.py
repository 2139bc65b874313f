"""Which ports a cluster uses: a block that begins at a base, or whatever is free."""

import socket
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Final, Self

import psutil

DEFAULT_BASE: Final = 17300
"""Away from every engine's own default, and below the ports that systems give to clients."""

_BLOCK: Final = 60
_HIGHEST: Final = 65535
_LOOPBACK: Final = "127.0.0.1"
_FAST_BELOW_BROKER: Final = 2  # RocketMQ's broker takes that port too, and says so nowhere in its configuration


class PortTaken(Exception):
    """Somebody else listens there; the text names the port and who."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports of one cluster; of each replica of a service one, and one for what it counts."""

    order: tuple[int, ...]
    order_metrics: tuple[int, ...]
    inventory: tuple[int, ...]
    inventory_metrics: tuple[int, ...]
    mysql: int
    redis: int
    nameserver: int
    proxy: int
    proxy_remoting: int
    broker: int
    broker_ha: int
    consul: int
    consul_serf: int
    consul_raft: int

    @property
    def broker_fast(self) -> int:
        return self.broker - _FAST_BELOW_BROKER

    @classmethod
    def block(cls, base: int) -> Self:
        """The block of sixty ports that begins at `base`.

        Raises:
            ValueError: There is no such block.
        """
        if not 1 <= base <= _HIGHEST + 1 - _BLOCK:
            raise ValueError(f"a block of {_BLOCK} ports can't begin at {base}")
        return cls(
            order=(base + 1, base + 2),
            inventory=(base + 3, base + 4),
            order_metrics=(base + 11, base + 12),
            inventory_metrics=(base + 13, base + 14),
            mysql=base + 20,
            redis=base + 30,
            nameserver=base + 40,
            proxy=base + 41,
            proxy_remoting=base + 42,
            broker=base + 46,
            broker_ha=base + 47,
            consul=base + 50,
            consul_serf=base + 51,
            consul_raft=base + 52,
        )

    @classmethod
    def free(cls) -> Self:
        """Ports on which nobody listens at the moment: for clusters of tests, many of them at once."""
        with ExitStack() as held:

            def take(port: int) -> int:
                probe = held.enter_context(closing(socket.socket()))
                probe.bind((_LOOPBACK, port))
                number: int = probe.getsockname()[1]
                return number

            def take_pair() -> tuple[int, int]:
                return take(0), take(0)

            broker = take(0)
            while not _can_take(broker - _FAST_BELOW_BROKER, take):
                broker = take(0)
            return cls(
                order=take_pair(),
                order_metrics=take_pair(),
                inventory=take_pair(),
                inventory_metrics=take_pair(),
                mysql=take(0),
                redis=take(0),
                nameserver=take(0),
                proxy=take(0),
                proxy_remoting=take(0),
                broker=broker,
                broker_ha=take(0),
                consul=take(0),
                consul_serf=take(0),
                consul_raft=take(0),
            )


def _can_take(port: int, take: Callable[[int], int]) -> bool:
    try:
        take(port)
    except OSError:
        return False
    return True


def check_free(wanted: Iterable[tuple[str, int]]) -> None:
    """See that nobody listens on these ports.

    Args:
        wanted: Who wants which port.

    Raises:
        PortTaken: Somebody does.
    """
    taken = [(name, port) for name, port in wanted if not _is_free(port)]
    if taken:
        raise PortTaken("\n".join(f"port {port}, for {name}, is taken by {_listener(port)}" for name, port in taken))


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(
            socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
        )  # what closed connections leave behind is no hindrance
        try:
            probe.bind((_LOOPBACK, port))
        except OSError:
            return False
    return True


def _listener(port: int) -> str:
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            if connection.pid is None:
                break  # another user's
            return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return "a process of another user"
