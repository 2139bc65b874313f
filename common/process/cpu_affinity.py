"""On which CPU a service runs, and how: on one, for as long as it lives, where a thread that wakes another goes on.

Python runs one thread of a process at a time. Where the threads that take turns are on several CPUs, each turn wakes a
CPU that has gone to sleep, and calls take two to three times as long (docs/decisions/processes.md). So a process is
kept to one, and more CPUs are used by more replicas.

There Linux would let each thread that is woken interrupt the one that wakes it, only to find that this one still has
Python's lock: two switches for nothing, three times a call. Threads of the class SCHED_BATCH don't interrupt.
"""

import os
import socket
import string
from typing import Final
from zlib import crc32

import structlog

from common.addresses import split_address
from common.text_rules import TextRule

AUTO: Final = "auto"
ANY: Final = "any"

log = structlog.get_logger(__name__)


def allowed_cpus() -> list[int]:
    """The CPUs that this process may run on; none where the system can't tell, such as macOS."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


class CpuChoice(TextRule):
    """`auto`, `any`, or the number of a CPU that this process may run on."""

    @property
    def allowed(self) -> str:
        return "auto (one that it picks), any (the system's choice) or the number of a CPU"

    def read(self, text: str) -> str:
        return text.lower()

    def check(self, value: object) -> str:
        choice = self.read(str(value))
        cpus = [str(cpu) for cpu in allowed_cpus()]
        if choice in {AUTO, ANY, *cpus}:
            return choice
        there = f"this process may run on CPU {', '.join(cpus)}" if cpus else "this system lets no process choose one"
        raise ValueError(f"must be {self.allowed}; {there}")


def choose_cpu(choice: str, host: str, port: int, allowed: list[int]) -> int | None:
    """The CPU to run on, or None: where the system likes.

    Replicas whose ports are next to each other get CPUs next to each other. In containers, where ports are alike, the
    hosts' names do that when they end in a number (`inventory-1`, `inventory-2`), and else spread them by chance.

    Args:
        choice: What `CpuChoice` allows.
        host: The name of the machine or container.
        port: Where the service listens, or any other number that its like on this host don't have.
        allowed: The CPUs to choose from.
    """
    if choice == ANY or not allowed:
        return None
    if choice != AUTO:
        return int(choice)
    name = host.rstrip(string.digits)
    number = int(host.removeprefix(name) or 0)
    return allowed[(crc32(name.encode()) + number + port) % len(allowed)]


def set_cpu_affinity(choice: str, listen: str) -> None:
    """Keep this process to one CPU, or log why it can't be; call it before there are threads, which inherit all of it.

    Args:
        choice: What `CpuChoice` allows.
        listen: `host:port` of the service; for port 0 its pid stands in.
    """
    port = split_address(listen)[1] or os.getpid()
    chosen = choose_cpu(choice, socket.gethostname(), port, allowed_cpus())
    if chosen is None:
        return
    try:
        os.sched_setaffinity(0, {chosen})
    except OSError as error:  # a sandbox forbids it: slower, but as good
        log.warning("not kept to one CPU", cpu=chosen, error=str(error))
    else:
        log.info("kept to one CPU", cpu=chosen)
        _interrupt_nobody()


def _interrupt_nobody() -> None:
    if not hasattr(os, "SCHED_BATCH") or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return  # not Linux, or its owner chose a class
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except OSError as error:  # as above
        log.info("threads interrupt each other", error=str(error))
