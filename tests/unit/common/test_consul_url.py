from datetime import timedelta
from pathlib import Path

import pytest

from common.discovery.consul.url import ConsulUrl, parse_consul_url
from common.discovery.drivers import open_discovery
from common.process.settings import mask


def test_a_plain_url_has_the_usual_port() -> None:
    assert parse_consul_url("consul://registry") == ConsulUrl(host="registry")
    assert parse_consul_url("consul://registry").port == 8500
    assert parse_consul_url("consul://[::1]:7000/") == ConsulUrl(host="::1", port=7000)
    assert parse_consul_url("consul+https://registry").tls


@pytest.mark.parametrize(
    "url",
    ["consul://s%40cret%2F@registry", "consul://:s%40cret%2F@registry", "consul://registry?token=s%40cret%2F"],
)
def test_a_token_is_unquoted_and_not_shown(url: str) -> None:
    parsed = parse_consul_url(url)
    assert parsed == ConsulUrl(host="registry", token="s@cret/")
    assert "cret" not in repr(parsed)
    assert "cret" not in mask(url)


def test_parameters_have_types(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = parse_consul_url(
        "consul+https://h?interval=0.5&check_timeout=0.2&deregister_after=90&timeout=3&wait=60&dc=eu"
        f"&tls_ca={authority}&tls_cert={authority}&tls_key={authority}"
    )
    assert (url.interval, url.check_timeout) == (timedelta(seconds=0.5), timedelta(seconds=0.2))
    assert (url.deregister_after, url.timeout) == (timedelta(seconds=90), timedelta(seconds=3))
    assert (url.wait, url.dc) == (timedelta(seconds=60), "eu")
    assert url.tls_ca == url.tls_cert == url.tls_key == str(authority)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("consul:/h", "begins with consul://"),
        ("consul://", "no host:port"),
        ("consul://h:0", "no host:port"),
        ("consul://h:70000", "no host:port"),
        ("consul://h:x", "no host:port"),
        ("consul://a,b", "no host:port"),
        ("consul://h/dc1", "no path"),
        ("consul://h#x", "written as %23"),
        ("consul://h?intervall=3", "no such parameter 'intervall'"),
        ("consul://h?interval=0", "interval is a number of seconds from 0.1"),
        ("consul://h?interval=nan", "interval is a number of seconds"),
        ("consul://h?deregister_after=59", "deregister_after is a number of seconds from 60"),
        ("consul://h?wait=3&wait=4", "wait stands twice"),
        ("consul://a@h?token=b", "the token stands twice"),
        ("consul://h?token=b%0A", "a token has"),
        ("consul://%20b@h", "a token has"),
        ("consul://h?token=%E2%82%AC", "a token has"),
        ("consul://h?dc=", "dc is empty"),
        ("consul+https://h?tls_ca=/no/such/file", "there is no file"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        open_discovery(url)
    assert said in str(error.value)


def test_who_we_are_by_tls_needs_both_files(tmp_path: Path) -> None:
    certificate = tmp_path / "cert.pem"
    certificate.touch()
    with pytest.raises(ValueError, match="tls_cert and tls_key stand together"):
        parse_consul_url(f"consul+https://h?tls_cert={certificate}")


@pytest.mark.parametrize(
    "token",
    ["hun#ter2", "hun/ter2", "hun?ter2", "hun@ter2", "hun:ter2", "[hun]ter2", "hun%ter2", "hun%0Ater2", "%20hunter2"],
)
@pytest.mark.parametrize("form", ["consul://{}@h:x", "consul+https://:{}@h", "consul://{}@h?dc=1"])
def test_no_text_has_a_token_not_even_one_that_breaks_the_url(form: str, token: str) -> None:
    url = form.format(token)
    try:
        text = repr(parse_consul_url(url))
    except ValueError as error:
        text = str(error)
    assert "hun" not in text
    assert "ter2" not in text
    assert "ter2" not in mask(url)
