"""What is told when librocketmq is not there, or is no library."""

import os
from pathlib import Path

import pytest

from common.messaging.drivers import BROKERS, open_broker
from common.messaging.rocketmq.native import library
from tests.support.manual_clock import ManualClock

URL = "rocketmq-native://127.0.0.1:9876"


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the binding looks first; the system knows no such library."""
    file = tmp_path / "librocketmq.so"
    monkeypatch.setattr(library, "_beside_the_binding", lambda: file)
    monkeypatch.setattr(library, "find_library", lambda _: None)
    monkeypatch.setattr(library, "_loaded", [])
    return file


def test_missing_library_is_an_error_with_the_files_looked_for_and_where_to_get_it(beside: Path) -> None:
    with pytest.raises(ValueError, match="librocketmq") as answer:
        BROKERS.read(URL)

    text = str(answer.value)
    assert str(beside) in text
    assert "ldconfig, LD_LIBRARY_PATH" in text
    assert "apache/rocketmq-client-cpp" in text


def test_opening_says_the_same(beside: Path) -> None:
    with pytest.raises(ValueError, match=f"looked for {beside}"):
        open_broker(URL, topic_prefix="", clock=ManualClock())


def test_file_that_can_not_be_loaded_is_an_error(beside: Path) -> None:
    beside.write_bytes(b"no library")

    with pytest.raises(ValueError, match=f"can't load {beside}"):
        BROKERS.read(URL)


def test_wrong_url_is_an_error_before_the_library(beside: Path) -> None:
    with pytest.raises(ValueError, match="tries must be"):
        BROKERS.read(f"{URL}?tries=0")


def test_binding_looks_beside_itself() -> None:
    assert library._beside_the_binding().parent.name == "rocketmq"
    assert (library._beside_the_binding().parent / "ffi.py").exists()


def test_home_folder_is_another_one_only_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in ("/home/of/somebody", None):
        monkeypatch.delenv("HOME", raising=False)
        if before:
            monkeypatch.setenv("HOME", before)

        with library._home("/elsewhere"):
            assert os.environ["HOME"] == "/elsewhere"

        assert os.environ.get("HOME") == before
