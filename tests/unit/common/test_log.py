import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import logging, threading, warnings
import structlog
from common.process.logs import set_up_logs

log = structlog.get_logger("reback.test")
set_up_logs("order_srv", {level!r}, {log_format!r})
log.debug("quiet")
log.info("order closed", order_sn="茶1")
logging.getLogger("some.library").warning("%s is slow", "disk")
thread = threading.Thread(target=log.info, args=("from a thread",))
thread.start()
thread.join()
warnings.warn("careful")
try:
    password = "hunter2"
    raise RuntimeError("boom")
except RuntimeError as error:
    log.error("failed", exc_info=error)
"""


def output(level: str, log_format: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(level=level, log_format=log_format)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout, done.stderr


def events(level: str) -> list[dict[str, Any]]:
    out, err = output(level, "auto")
    assert out == ""
    return [json.loads(line) for line in err.splitlines()]


def test_away_from_a_terminal_each_line_is_json_with_the_service_whoever_logs() -> None:
    lines = events("info")
    assert [line["event"].strip().splitlines()[0].split(": ")[-1] for line in lines] == [
        "order closed",
        "disk is slow",
        "from a thread",
        "careful",
        "failed",
    ]
    assert {line["service"] for line in lines} == {"order_srv"}
    assert all(line["timestamp"].endswith("Z") for line in lines)
    assert lines[0]["order_sn"] == "茶1"
    assert (lines[1]["logger"], lines[1]["level"]) == ("some.library", "warning")
    assert "RuntimeError: boom" in lines[4]["exception"]


@pytest.mark.parametrize(("level", "count"), [("debug", 6), ("warning", 3), ("error", 1)])
def test_the_level_decides_what_is_logged(level: str, count: int) -> None:
    assert len(events(level)) == count


def test_pretty_is_for_people_and_shows_a_traceback_without_variables() -> None:
    out, err = output("info", "pretty")
    assert out == ""
    assert "order closed" in err
    assert "RuntimeError: boom" in err
    assert "\x1b" not in err  # no colours away from a terminal
    assert "hunter2" not in err
