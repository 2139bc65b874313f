"""Importing the client leaves nothing in the home folder, and needs none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

IMPORT = "from common.messaging.rocketmq.proxy.broker import RocketmqBroker"
FIRST_COMES_THE_NATIVE_CLIENT = """
import sys, types
package = types.ModuleType("rocketmq")  # as its __init__.py is: with nothing in it
package.__path__ = [p + "/rocketmq" for p in sys.path if p.endswith("site-packages")]
sys.modules["rocketmq"] = package
"""
LOG = """
import logging
logging.basicConfig(level={level}, format="%(name)s: %(message)s")
logging.getLogger("rocketmq-python-client").error("from the client")
"""
FAILED_CALLBACK = """
import logging
from concurrent.futures import Future
import grpc
from grpc.aio import AioRpcError
logging.basicConfig()
def fail(error):
    future = Future()
    def callback(_):
        raise error
    future.add_done_callback(callback)
    future.set_result(None)
fail(AioRpcError(grpc.StatusCode.UNAVAILABLE, (), (), details="a heartbeat"))
fail(RuntimeError("somebody else's"))
"""


def run(program: str, home: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={**os.environ, "HOME": home},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_nothing_is_written_into_the_home_folder(tmp_path: Path) -> None:
    run(IMPORT, str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_home_folder_that_cannot_be_written_is_no_hindrance() -> None:
    run(IMPORT, "/dev/null/home")


def test_it_does_not_matter_whose_package_it_is(tmp_path: Path) -> None:
    run(FIRST_COMES_THE_NATIVE_CLIENT + IMPORT, str(tmp_path))


@pytest.mark.parametrize(("level", "heard"), [("logging.INFO", False), ("logging.DEBUG", True)])
def test_what_the_client_says_is_heard_at_debug_alone(tmp_path: Path, level: str, heard: bool) -> None:
    answer = run(IMPORT + LOG.format(level=level), str(tmp_path))

    assert ("from the client" in answer) is heard


def test_a_heartbeat_that_fails_fills_no_log(tmp_path: Path) -> None:
    answer = run(IMPORT + FAILED_CALLBACK, str(tmp_path))

    assert "a heartbeat" not in answer
    assert "somebody else's" in answer
