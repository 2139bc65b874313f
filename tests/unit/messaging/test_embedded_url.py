import re
from datetime import timedelta
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.embedded.url import EmbeddedOptions, parse_url


def test_three_slashes_are_relative_and_four_are_absolute() -> None:
    assert parse_url("embedded:///.run/broker.db")[0] == Path.cwd() / ".run/broker.db"
    assert parse_url("embedded:////var/lib/broker.db")[0] == Path("/var/lib/broker.db")
    assert parse_url("embedded:////var/a%20b%3F.db")[0] == Path("/var/a b?.db")


def test_url_without_parameters_has_the_defaults() -> None:
    assert parse_url("embedded:///broker.db")[1] == EmbeddedOptions(
        check_after=timedelta(seconds=6),
        check_every=timedelta(seconds=5),
        check_max=0,
        ask_again=False,
        handlers=8,
        lease=timedelta(seconds=10),
        tries=16,
        retry_after=timedelta(seconds=1),
    )


def test_every_parameter_can_be_given() -> None:
    url = (
        "embedded:///broker.db?check_after=0.5&check_every=0.25&check_max=15&ask_again=1&handlers=2&lease=3&tries=4"
        "&retry_after=0&keep_settled=60&busy_timeout=1"
    )

    assert parse_url(url)[1] == EmbeddedOptions(
        check_after=timedelta(seconds=0.5),
        check_every=timedelta(seconds=0.25),
        check_max=15,
        ask_again=True,
        handlers=2,
        lease=timedelta(seconds=3),
        tries=4,
        retry_after=timedelta(0),
        keep_settled=timedelta(minutes=1),
        busy_timeout=timedelta(seconds=1),
    )


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("", "embedded:///relative.db"),
        ("broker.db", "embedded:///relative.db"),
        ("kafka://host:9092", "embedded:///relative.db"),
        ("embedded://", "embedded:////absolute.db"),
        ("embedded:///", "embedded:////absolute.db"),
        ("embedded:///folder/", "embedded:////absolute.db"),
        ("embedded://host/broker.db", "embedded:////absolute.db"),
        ("embedded:///broker.db#part", "embedded:////absolute.db"),
        ("embedded:///broker.db?leese=3", "check_after, check_every, "),
        ("embedded:///broker.db?lease=3&lease=4", "twice"),
        ("embedded:///broker.db?lease", "name=value&name=value"),
        ("embedded:///broker.db?lease=", "a number of seconds above 0"),
        ("embedded:///broker.db?lease=0", "a number of seconds above 0"),
        ("embedded:///broker.db?lease=nan", "a number of seconds above 0"),
        ("embedded:///broker.db?lease=inf", "a number of seconds above 0"),
        ("embedded:///broker.db?check_after=-1", "a number of seconds from 0"),
        ("embedded:///broker.db?tries=0", "a whole number from 1"),
        ("embedded:///broker.db?handlers=1.5", "a whole number from 1"),
        ("embedded:///broker.db?check_max=many", "a whole number from 0"),
        ("embedded:///broker.db?ask_again=yes", "0 and 1"),
    ],
)
def test_wrong_url_is_refused_with_what_is_allowed(url: str, allowed: str) -> None:
    with pytest.raises(ValueError, match=re.escape(allowed)):
        open_broker(url, topic_prefix="", clock=SystemClock())


def test_refusal_of_an_unknown_kind_keeps_its_password_to_itself() -> None:
    with pytest.raises(ValueError, match="kafka") as refused:
        open_broker("kafka://user:secret@host", topic_prefix="", clock=SystemClock())

    assert "secret" not in str(refused.value)


def test_opening_touches_no_file(tmp_path: Path) -> None:
    open_broker(f"embedded:///{tmp_path}/folder/broker.db", topic_prefix="", clock=SystemClock()).close()

    assert list(tmp_path.iterdir()) == []
