"""Finds and loads librocketmq, RocketMQ's C++ client, to which rocketmq-client-python is only a binding.

No package registry carries the library. The binding looks for it beside itself, then where the system's loader looks.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes.util import find_library
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from types import ModuleType
from typing import Any, Final

RELEASES: Final = "the releases of apache/rocketmq-client-cpp (2.x) on GitHub"

_FILE: Final = "librocketmq.dylib" if sys.platform == "darwin" else "librocketmq.so"
_ONLY_FATAL: Final = 1  # of which the library has none
_WARNINGS: Final = 3

_loading: Final = Lock()
_loaded: list[ModuleType] = []


def check_library() -> None:
    """Check that the library is installed and can be loaded.

    Raises:
        ValueError: It can't; the text says which files were looked for, and where to get the library.
    """
    beside = _beside_the_binding()
    file = str(beside) if beside.exists() else find_library("rocketmq")
    if not file:
        raise ValueError(
            f"rocketmq-native needs {_FILE}, RocketMQ's C++ client; looked for {beside}, and for {_FILE} where the "
            f"system's loader looks (ldconfig, LD_LIBRARY_PATH); get it from {RELEASES}"
        )
    try:
        ctypes.CDLL(file)
    except OSError as error:
        raise ValueError(f"rocketmq-native can't load {file}: {error}; get it from {RELEASES}") from error


def load(log_folder: str) -> Any:
    """Load the binding, `rocketmq.client`.

    Args:
        log_folder: Where the library logs; empty: nowhere. The first caller decides for the whole process.

    Raises:
        ValueError: The library is missing.
    """
    with _loading:
        if not _loaded:
            check_library()
            # Both of RocketMQ's packages share one __init__.py; this keeps that of the other from the home folder.
            import_module("common.messaging.rocketmq.sdk")
            client = import_module("rocketmq.client")
            _set_up_log(client.dll, log_folder)
            _loaded.append(client)
        return _loaded[0]


def _beside_the_binding() -> Path:
    spec = find_spec("rocketmq")
    places = spec.submodule_search_locations if spec else None
    return Path(places[0] if places else "rocketmq") / _FILE


def _set_up_log(dll: Any, folder: str) -> None:
    """Have the library open its log now, while HOME is a folder that it may write to."""
    with TemporaryDirectory() as nowhere, _home(folder or nowhere):
        producer = dll.CreateProducer(b"log")
        dll.SetProducerLogLevel(producer, _WARNINGS if folder else _ONLY_FATAL)
        dll.DestroyProducer(producer)


@contextmanager
def _home(folder: str) -> Iterator[None]:
    before = os.environ.get("HOME")
    os.environ["HOME"] = folder
    try:
        yield
    finally:
        if before is None:
            del os.environ["HOME"]
        else:
            os.environ["HOME"] = before
