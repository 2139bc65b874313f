from datetime import timedelta

import pytest

from common.messaging.rocketmq.proxy.url import RocketmqOptions, parse_url


def test_a_proxy_alone_has_its_name_server_beside_it() -> None:
    assert parse_url("rocketmq://mq.example:8081") == (
        ("mq.example:8081",),
        RocketmqOptions(nameserver="mq.example:9876"),
    )


def test_several_proxies_and_parameters() -> None:
    proxies, options = parse_url(
        "rocketmq://10.0.0.1:8081,10.0.0.2:8081/?nameserver=ns:9876&handlers=2&tries=3&lease=12.5"
    )

    assert proxies == ("10.0.0.1:8081", "10.0.0.2:8081")
    assert options == RocketmqOptions(nameserver="ns:9876", handlers=2, tries=3, lease=timedelta(seconds=12.5))


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("kafka://host:8081", "rocketmq://host:8081"),
        ("rocketmq://host", "'host' is not host:port"),
        ("rocketmq://", "'' is not host:port"),
        ("rocketmq://host:8081/topic", "no path"),
        ("rocketmq://host:8081#x", "no path"),
        ("rocketmq://user:secret@host:8081", "no user and password"),
        ("rocketmq://user:secret?word@host:8081", "no user and password"),
        ("rocketmq://user:secret#word@host:8081", "no user and password"),
        ("rocketmq://[::1]:8081", "IPv6"),
        ("rocketmq://a:8081,b:8081", "'a:8081' is no IPv4 address"),
        ("rocketmq://10.0.0.1:8081,b:8081", "'b:8081' is no IPv4 address"),
        ("rocketmq://host:8081?nameserver=host", "'host' is not host:port"),
        ("rocketmq://host:8081?leese=1", "unknown parameter 'leese'; allowed are nameserver, handlers, lease"),
        ("rocketmq://host:8081?lease=11&lease=12", "twice"),
        ("rocketmq://host:8081?lease", "name=value"),
        ("rocketmq://host:8081?lease=9", "no less than 10"),
        ("rocketmq://host:8081?lease=long", "a number of seconds"),
        ("rocketmq://host:8081?lease=-1", "a number of seconds"),
        ("rocketmq://host:8081?tries=0", "1 to 16"),
        ("rocketmq://host:8081?tries=17", "1 to 16"),
        ("rocketmq://host:8081?tries=1.5", "a whole number"),
        ("rocketmq://host:8081?handlers=0", "a whole number from 1"),
        ("rocketmq://host:8081?longest_delay=0.5", "1 to 86340"),
        ("rocketmq://host:8081?longest_delay=86400", "1 to 86340"),
        ("rocketmq://host:8081?timeout=0", "from 1"),
        ("rocketmq://host:8081?look_every=0", "above 0"),
    ],
)
def test_a_wrong_url_tells_what_is_allowed(url: str, answer: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_url(url)
    assert answer in str(error.value)
    assert "secret" not in str(error.value)
