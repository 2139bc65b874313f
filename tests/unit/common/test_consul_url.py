from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.discovery.consul.url import ConsulUrl
from common.discovery.drivers import REGISTRIES
from tests.support.certificates import Authority


def test_a_plain_url_has_the_usual_port() -> None:
    plain, ipv6 = ConsulUrl.parse("consul://registry"), ConsulUrl.parse("consul://[::1]:7000/")
    assert (plain.host, plain.port, plain.token, plain.tls) == ("registry", 8500, None, False)
    assert (ipv6.host, ipv6.port) == ("::1", 7000)
    assert ConsulUrl.parse("consul+https://registry").tls


@pytest.mark.parametrize(
    "url",
    ["consul://s%40cret%2F@registry", "consul://:s%40cret%2F@registry", "consul://registry?token=s%40cret%2F"],
)
def test_a_token_is_decoded_and_not_shown(url: str) -> None:
    parsed = ConsulUrl.parse(url)
    assert parsed.token == SecretStr("s@cret/")
    assert "cret" not in repr(parsed)


def test_parameters_have_types(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    url = ConsulUrl.parse(
        "consul+https://h?interval=0.5&check_timeout=0.2&deregister_after=90&timeout=3&wait=60&dc=eu"
        f"&tls_ca={authority.certificate}&tls_cert={certificate}&tls_key={key}"
    )
    assert (url.interval, url.check_timeout) == (timedelta(seconds=0.5), timedelta(seconds=0.2))
    assert (url.deregister_after, url.timeout) == (timedelta(seconds=90), timedelta(seconds=3))
    assert (url.wait, url.dc) == (timedelta(seconds=60), "eu")
    assert (url.tls_ca, url.tls_cert, url.tls_key) == (str(authority.certificate), str(certificate), str(key))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("consul:/h", "begins with static://, consul:// or consul+https://"),
        ("consul://", "its host must be host:port"),
        ("consul://h:0", "its host must be host:port"),
        ("consul://h:70000", "its host must be host:port"),
        ("consul://h:x", "its host must be host:port"),
        ("consul://a,b", "its host must be one host:port"),
        ("consul://h/dc1", "has a path, which consul:// does not take"),
        ("consul://h#x", "written as %23"),
        ("consul://@h", "the user before @ is empty"),
        ("consul://h?intervall=3", "no such parameter 'intervall'; there are token, dc, interval"),
        ("consul://h?interval=0", "interval must be a number of seconds from 0.1 to 300"),
        ("consul://h?interval=nan", "interval must be a number of seconds"),
        ("consul://h?deregister_after=59", "deregister_after must be a number of seconds from 60 to 2592000"),
        ("consul://h?wait=3&wait=4", "wait is given twice"),
        ("consul://a@h?token=b", "the token is given twice"),
        ("consul://h?token=b%0A", "its token has a control character"),
        ("consul://%20b@h", "token must be a text of visible ASCII characters"),
        ("consul://h?token=%E2%82%AC", "token must be a text of visible ASCII characters"),
        ("consul://h?token=", "token must be"),
        ("consul://h?dc=", "dc must be a text that is not empty"),
        ("consul+https://h?tls_ca=/no/such/file", "tls_ca must be the path of a file that can be read"),
        ("consul://h?tls_ca=/etc/hosts", "tls_ca needs TLS: consul+https://"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        REGISTRIES.read(url)
    assert said in str(error.value)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    with pytest.raises(ValueError, match="tls_cert and tls_key need each other"):
        ConsulUrl.parse(f"consul+https://h?tls_cert={certificate}")
