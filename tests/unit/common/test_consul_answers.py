from types import SimpleNamespace
from typing import Any

import consul
import pytest

from common.discovery.consul.registry import _Instance, _next_index, _read, _Watch
from common.discovery.consul.url import ConsulUrl
from common.discovery.port import Addresses


def entry(address: str, port: int, node: str = "10.0.0.1") -> dict[str, Any]:
    return {"Node": {"Address": node}, "Service": {"Address": address, "Port": port}}


def test_an_answer_tells_its_index_and_every_address_once_sorted() -> None:
    entries = [entry("10.0.0.3", 2), entry("10.0.0.2", 1), entry("10.0.0.2", 1)]
    assert _read(("17", entries)) == (17, ("10.0.0.2:1", "10.0.0.3:2"))
    assert _read(("17", [])) == (17, ())


def test_who_registered_no_address_is_on_its_agents_machine() -> None:
    assert _read(("1", [entry("", 5)])) == (1, ("10.0.0.1:5",))


def test_an_ipv6_address_gets_its_brackets() -> None:
    assert _read(("1", [entry("fe80::1", 5)])) == (1, ("[fe80::1]:5",))
    assert _Instance("inventory-srv", "fe80::1", 5).address == "[fe80::1]:5"


@pytest.mark.parametrize("answer", [("x", []), ("1", None), ("1", [{}]), ("1", ["text"]), None])
def test_what_consul_would_not_say_is_refused(answer: Any) -> None:
    with pytest.raises(consul.ConsulException, match="not an answer of Consul"):
        _read(answer)


@pytest.mark.parametrize(
    ("last", "answered", "following"),
    [(None, 5, 5), (5, 5, 5), (5, 9, 9), (9, 5, None), (None, 0, None), (5, 0, None), (None, -1, None)],
)
def test_an_index_that_goes_back_or_is_none_begins_anew(last: int | None, answered: int, following: int | None) -> None:
    assert _next_index(last, answered) == following


def test_an_instance_has_the_same_id_whenever_it_is_at_the_same_place() -> None:
    assert _Instance("inventory-srv", "10.0.0.2", 1).id == "inventory-srv-10.0.0.2-1"


def test_a_list_that_can_not_be_used_does_not_end_the_watch() -> None:
    answers = iter([("1", [entry("10.0.0.2", 1)]), ("2", [entry("no host", 1)]), ("3", [entry("10.0.0.3", 1)])])
    answer: list[Addresses] = []

    def use(addresses: Addresses) -> None:
        if " " in addresses[0]:
            raise ValueError("not host:port")
        answer.append(addresses)

    watch = _Watch(ConsulUrl.parse("consul://registry"), "inventory-srv", use)
    watch._agent = SimpleNamespace(health=SimpleNamespace(service=lambda *_, **__: next(answers)))
    for _ in range(3):
        watch._look()

    assert answer == [("10.0.0.2:1",), ("10.0.0.3:1",)]
