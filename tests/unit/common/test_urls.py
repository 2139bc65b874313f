import pytest

from common.discovery.drivers import open_discovery
from common.discovery.static import parse_static_url
from common.lock.drivers import open_lock


def test_a_static_url_names_services_and_addresses() -> None:
    assert parse_static_url("static://?a-srv=h:1,[::1]:2,h:1&b-srv=10.0.0.1:03") == {
        "a-srv": ("[::1]:2", "h:1"),
        "b-srv": ("10.0.0.1:3",),
    }
    assert parse_static_url("static://") == {}


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("static:///?a=h:1", "static:///?a=h:1"),
        ("static://host?a=h:1", "static://host?a=h:1"),
        ("static://?a=h:1#b", "static://?a=h:1#b"),
        ("consul://?a=h:1", "consul://?a=h:1"),
        ("static://?a", "''"),
        ("static://?a=", "''"),
        ("static://?a=h:1,", "''"),
        ("static://?a=h", "'h'"),
        ("static://?a=h:0", "'h:0'"),
        ("static://?a=h:1&=h:2", "'=h:2'"),
        ("static://?a=h:1&a=h:2", "'a=h:2'"),
    ],
)
def test_a_malformed_static_url_names_the_part(url: str, part: str) -> None:
    with pytest.raises(ValueError) as error:
        open_discovery(url) if url.startswith("static") else parse_static_url(url)
    assert part in str(error.value)


def test_an_unknown_driver_is_refused_with_what_is_allowed() -> None:
    with pytest.raises(ValueError, match=r"'zoo'.*static://.*consul://"):
        open_discovery("zoo://host")
    with pytest.raises(ValueError, match=r"'zoo'.*local://"):
        open_lock("zoo://host")
