from datetime import timedelta

import pytest

from common.messaging.drivers import BROKERS
from common.messaging.rocketmq.proxy.url import RocketmqUrl


def test_a_proxy_alone_has_its_name_server_beside_it() -> None:
    url = RocketmqUrl.parse("rocketmq://mq.example:8081")
    assert (url.proxies, url.nameserver_address) == (("mq.example:8081",), "mq.example:9876")
    assert (url.handlers, url.lease, url.tries) == (32, timedelta(seconds=10), 16)


def test_several_proxies_and_parameters() -> None:
    url = RocketmqUrl.parse("rocketmq://10.0.0.1:8081,10.0.0.2:8081/?nameserver=ns:9876&handlers=2&tries=3&lease=12.5")
    assert url.proxies == ("10.0.0.1:8081", "10.0.0.2:8081")
    assert (url.nameserver_address, url.handlers, url.tries) == ("ns:9876", 2, 3)
    assert url.lease == timedelta(seconds=12.5)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("kafka://host:8081", "rocketmq://"),
        ("rocketmq://host", "its host must be host:port; expected rocketmq://host:8081"),
        ("rocketmq://", "its host must be host:port"),
        ("rocketmq://host:0", "a port above 0"),
        ("rocketmq://host:8081/topic", "has a path"),
        ("rocketmq://host:8081#x", "has a #"),
        ("rocketmq://user:secret@host:8081", "has a user, which rocketmq:// does not take"),
        ("rocketmq://user:secret?word@host:8081", "write %40"),
        ("rocketmq://user:secret#word@host:8081", "has a #"),
        ("rocketmq://[::1]:8081", "IPv6"),
        ("rocketmq://a:8081,b:8081", "IPv4 addresses alone"),
        ("rocketmq://10.0.0.1:8081,b:8081", "IPv4 addresses alone"),
        ("rocketmq://host:8081?nameserver=host", "nameserver must be host:port"),
        ("rocketmq://host:8081?nameserver=host:0", "nameserver must be host:port"),
        ("rocketmq://host:8081?leese=1", "no such parameter 'leese'; there are nameserver, handlers, lease"),
        ("rocketmq://host:8081?lease=11&lease=12", "lease is given twice"),
        ("rocketmq://host:8081?lease", "name=value"),
        ("rocketmq://host:8081?lease=9", "lease must be a number of seconds from 10 to ten years"),
        ("rocketmq://host:8081?lease=long", "lease must be a number of seconds"),
        ("rocketmq://host:8081?lease=-1", "lease must be a number of seconds"),
        ("rocketmq://host:8081?tries=0", "tries must be a whole number from 1 to 16"),
        ("rocketmq://host:8081?tries=17", "tries must be a whole number from 1 to 16"),
        ("rocketmq://host:8081?tries=1.5", "tries must be a whole number from 1 to 16"),
        ("rocketmq://host:8081?handlers=0", "handlers must be a whole number from 1"),
        ("rocketmq://host:8081?longest_delay=0.5", "longest_delay must be a number of seconds from 1 to 86340"),
        ("rocketmq://host:8081?longest_delay=86400", "longest_delay must be a number of seconds from 1 to 86340"),
        ("rocketmq://host:8081?timeout=0", "timeout must be a number of seconds from 1"),
        ("rocketmq://host:8081?probe_every=0", "probe_every must be a number of seconds above 0"),
    ],
)
def test_a_wrong_url_tells_what_is_allowed(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        BROKERS.read(url)
    assert said in str(error.value)
    assert "secret" not in str(error.value)
