import re
from datetime import timedelta

import pytest

from common.messaging.rocketmq.native.url import NativeOptions, parse_url


def test_url_without_parameters_has_the_defaults() -> None:
    assert parse_url("rocketmq-native://name.server:9876") == (("name.server:9876",), NativeOptions())


def test_several_name_servers() -> None:
    nameservers, _ = parse_url("rocketmq-native://one:9876,[::1]:9877/")

    assert nameservers == ("one:9876", "[::1]:9877")


def test_every_parameter_is_read() -> None:
    _, options = parse_url(
        "rocketmq-native://one:9876?handlers=2&tries=3&retry_after=0.5&timeout=2&look_every=0.5&log_folder=/var/log/x%40y"
    )

    assert options == NativeOptions(
        handlers=2,
        tries=3,
        retry_after=timedelta(milliseconds=500),
        timeout=timedelta(seconds=2),
        look_every=timedelta(milliseconds=500),
        log_folder="/var/log/x@y",
    )


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("rocketmq-native://", "is not host:port"),
        ("rocketmq-native://one", "is not host:port"),
        ("rocketmq-native://user:secret@one:9876", "no user and password"),
        ("rocketmq-native://user:secret?word@one:9876", "no user and password"),
        ("rocketmq-native://one:9876/path", "no path"),
        ("rocketmq-native://one:9876#x", "no path"),
        ("rocketmq://one:9876", "rocketmq-native://nameserver:9876"),
        ("rocketmq-native://one:9876?handlers=0", "handlers=0"),
        ("rocketmq-native://one:9876?tries=0", "tries=0"),
        ("rocketmq-native://one:9876?tries=many", "tries=many"),
        ("rocketmq-native://one:9876?timeout=0.01", "timeout=0.01"),
        ("rocketmq-native://one:9876?look_every=0", "look_every=0"),
        ("rocketmq-native://one:9876?lease=10", "unknown parameter 'lease'"),
        ("rocketmq-native://one:9876?retry_after=-1", "retry_after=-1"),
    ],
)
def test_wrong_url_is_refused_and_tells_what_is_allowed(url: str, answer: str) -> None:
    with pytest.raises(ValueError, match=re.escape(answer)) as error:
        parse_url(url)
    assert "secret" not in str(error.value)
