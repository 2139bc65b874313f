from datetime import timedelta

import pytest

from common.messaging.rocketmq.native.url import NativeUrl


def test_url_without_parameters_has_the_defaults() -> None:
    url = NativeUrl.parse("rocketmq-native://name.server:9876")
    assert url.nameservers == ("name.server:9876",)
    assert (url.handlers, url.tries, url.timeout, url.log_folder) == (8, 16, timedelta(seconds=1.5), None)


def test_several_name_servers() -> None:
    assert NativeUrl.parse("rocketmq-native://one:9876,[::1]:9877/").nameservers == ("one:9876", "[::1]:9877")


def test_every_parameter_is_read() -> None:
    url = NativeUrl.parse(
        "rocketmq-native://one:9876?handlers=2&tries=3&retry_after=0.5&timeout=2&probe_every=0.5&log_folder=/var/log/x%40y"
    )
    assert {name: getattr(url, name) for name in url.rules()} == {
        "handlers": 2,
        "tries": 3,
        "retry_after": timedelta(milliseconds=500),
        "timeout": timedelta(seconds=2),
        "probe_every": timedelta(milliseconds=500),
        "log_folder": "/var/log/x@y",
    }


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("rocketmq-native://", "its host must be host:port; expected rocketmq-native://nameserver:9876"),
        ("rocketmq-native://one", "its host must be host:port"),
        ("rocketmq-native://user:secret@one:9876", "has a user"),
        ("rocketmq-native://user:secret?word@one:9876", "write %40"),
        ("rocketmq-native://one:9876/path", "has a path"),
        ("rocketmq-native://one:9876#x", "has a #"),
        ("rocketmq-native://one:9876?handlers=0", "handlers must be"),
        ("rocketmq-native://one:9876?tries=0", "tries must be"),
        ("rocketmq-native://one:9876?tries=many", "tries must be"),
        ("rocketmq-native://one:9876?timeout=0.01", "timeout must be a number of seconds from 0.1"),
        ("rocketmq-native://one:9876?probe_every=0", "probe_every must be"),
        ("rocketmq-native://one:9876?lease=10", "no such parameter 'lease'"),
        ("rocketmq-native://one:9876?retry_after=-1", "retry_after must be"),
    ],
)
def test_wrong_url_is_refused_and_tells_what_is_allowed(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        NativeUrl.parse(url)
    assert said in str(error.value)
    assert "secret" not in str(error.value)
