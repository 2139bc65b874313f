"""On which CPU a service runs: on one, for as long as it lives.

Python runs one thread of a process at a time. Where the threads that take turns are on several CPUs, each turn wakes a
CPU that has gone to sleep, and calls take two to three times as long (docs/decisions.md). So a process is kept to one,
and more CPUs are used by more replicas.
"""

import os
import socket
from typing import Final
from zlib import crc32

from common.addresses import split_address

AUTO: Final = "auto"
ANY: Final = "any"


def allowed_cpus() -> list[int]:
    """The CPUs that this process may run on; none where the system can't tell, such as macOS."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def check_cpu(choice: str) -> str:
    """`auto`, `any`, or the number of a CPU that this process may run on.

    Raises:
        ValueError: It is none of these; the text says what there is.
    """
    if choice in (AUTO, ANY):
        return choice
    allowed = allowed_cpus()
    if not allowed:
        raise ValueError("this system does not let a process choose its CPU")
    if choice not in map(str, allowed):
        raise ValueError(f"this process may run on {', '.join(map(str, allowed))}")
    return choice


def choose_cpu(choice: str, listen: str, allowed: list[int]) -> int | None:
    """The CPU to run on, or None: where the system likes.

    Replicas on one machine differ by the ports they listen on, and spread over the CPUs; in containers, where ports are
    alike, by the names of their hosts.

    Args:
        choice: What `check_cpu` accepts.
        listen: `host:port` of the service; for port 0 its pid stands in.
        allowed: The CPUs to choose from.
    """
    if choice == ANY or not allowed:
        return None
    if choice != AUTO:
        return int(choice)
    own_number = split_address(listen)[1] or os.getpid()
    return allowed[(crc32(socket.gethostname().encode()) + own_number) % len(allowed)]


def keep_to_one_cpu(choice: str, listen: str) -> None:
    """Keep this process to one CPU; call it before there are threads, which inherit it. See `choose_cpu`."""
    chosen = choose_cpu(choice, listen, allowed_cpus())
    if chosen is not None:
        os.sched_setaffinity(0, {chosen})
