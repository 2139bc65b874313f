from datetime import timedelta
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.embedded.url import EmbeddedUrl


def test_three_slashes_are_relative_and_four_are_absolute() -> None:
    assert EmbeddedUrl.parse("embedded:///.run/broker.db").path == Path.cwd() / ".run/broker.db"
    assert EmbeddedUrl.parse("embedded:////var/lib/broker.db").path == Path("/var/lib/broker.db")
    assert EmbeddedUrl.parse("embedded:////var/a%20b%3F.db").path == Path("/var/a b?.db")


def test_url_without_parameters_has_the_defaults() -> None:
    url = EmbeddedUrl.parse("embedded:///broker.db")
    assert (url.check_after, url.check_every, url.check_max) == (timedelta(seconds=6), timedelta(seconds=5), 0)
    assert (url.recheck, url.handlers, url.tries) == (False, 8, 16)
    assert (url.lease, url.retry_after) == (timedelta(seconds=10), timedelta(seconds=1))


def test_every_parameter_can_be_given() -> None:
    url = EmbeddedUrl.parse(
        "embedded:///broker.db?check_after=0.5&check_every=0.25&check_max=15&recheck=on&handlers=2&lease=3&tries=4"
        "&retry_after=0&keep_settled=60&busy_timeout=1"
    )
    assert {name: getattr(url, name) for name in url.rules()} == {
        "check_after": timedelta(seconds=0.5),
        "check_every": timedelta(seconds=0.25),
        "check_max": 15,
        "recheck": True,
        "handlers": 2,
        "lease": timedelta(seconds=3),
        "tries": 4,
        "retry_after": timedelta(0),
        "keep_settled": timedelta(minutes=1),
        "busy_timeout": timedelta(seconds=1),
    }


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with embedded://, rocketmq:// or rocketmq-native://"),
        ("broker.db", "begins with embedded://"),
        ("kafka://host:9092", "begins with embedded://"),
        ("embedded://", "names no file; expected embedded:///relative.db or embedded:////absolute.db"),
        ("embedded:///", "names no file"),
        ("embedded:///folder/", "names no file"),
        ("embedded:///:memory:", "names no file: :memory:"),
        ("embedded://host/broker.db", "has a host, which embedded:// does not take"),
        ("embedded:///broker.db#part", "has a #"),
        ("embedded:///broker.db?leese=3", "no such parameter 'leese'; there are check_after, check_every, "),
        ("embedded:///broker.db?lease=3&lease=4", "lease is given twice"),
        ("embedded:///broker.db?lease", "not name=value"),
        ("embedded:///broker.db?", "no parameter after its ?"),
        ("embedded:///broker.db?lease=", "lease must be a number of seconds above 0"),
        ("embedded:///broker.db?lease=0", "lease must be a number of seconds above 0"),
        ("embedded:///broker.db?lease=nan", "lease must be a number of seconds above 0"),
        ("embedded:///broker.db?lease=inf", "lease must be a number of seconds above 0"),
        ("embedded:///broker.db?check_after=-1", "check_after must be a number of seconds from 0"),
        ("embedded:///broker.db?tries=0", "tries must be a whole number from 1"),
        ("embedded:///broker.db?handlers=1.5", "handlers must be a whole number from 1"),
        ("embedded:///broker.db?check_max=many", "check_max must be a whole number from 0"),
        ("embedded:///broker.db?recheck=yes", "recheck must be on or off"),
    ],
)
def test_wrong_url_is_refused_with_what_is_allowed(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        open_broker(url, topic_prefix="", clock=SystemClock())
    assert said in str(error.value)


def test_refusal_of_an_unknown_driver_keeps_its_password_to_itself() -> None:
    with pytest.raises(ValueError, match="begins with") as refused:
        open_broker("kafka://user:secret@host", topic_prefix="", clock=SystemClock())

    assert "secret" not in str(refused.value)


def test_opening_touches_no_file(tmp_path: Path) -> None:
    open_broker(f"embedded:///{tmp_path}/folder/broker.db", topic_prefix="", clock=SystemClock()).close()

    assert list(tmp_path.iterdir()) == []
