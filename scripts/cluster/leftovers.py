"""Finds a cluster's processes by the mark in their environment, whoever their parent is by now."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil

from scripts.cluster.supervision import MARK

_STOP_WITHIN_S: Final = 20


def processes(folder: Path) -> list[psutil.Process]:
    """Every process of the cluster in `folder` that still runs, this one apart."""
    return list(_marked(str(folder)))


def end_leftovers(folder: Path) -> list[str]:
    """End what is left of a cluster whose supervisor is gone.

    Returns:
        The names of the programs that were ended.
    """
    found = processes(folder)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, stubborn = psutil.wait_procs(found, timeout=_STOP_WITHIN_S)
    for process in stubborn:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stubborn, timeout=_STOP_WITHIN_S)
    return [process.info["name"] for process in found]


def _marked(folder: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter(["name"]):
        with contextlib.suppress(psutil.Error):  # another user's, or gone by now
            if (
                process.pid != os.getpid()
                and process.environ().get(MARK) == folder
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                yield process
