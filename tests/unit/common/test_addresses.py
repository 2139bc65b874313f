import socket

import pytest

from common.addresses import advertised_address, split_address, split_advertised


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("inventory-1.internal:0", ("inventory-1.internal", 0)),
        ("[::1]:65535", ("[::1]", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:65536", "host:-1", "::1:5", "a b:1", "host:1 "])
def test_anything_else_is_refused_and_quoted(address: str) -> None:
    with pytest.raises(ValueError) as error:
        split_address(address)
    assert repr(address) in str(error.value)


@pytest.mark.parametrize(
    ("listen", "advertise", "called"),
    [
        ("127.0.0.1:5", "", "127.0.0.1:5"),
        ("inventory-1:5", "", "inventory-1:5"),
        ("0.0.0.0:5", "10.0.0.5", "10.0.0.5:5"),
        ("0.0.0.0:5", "10.0.0.5:1234", "10.0.0.5:1234"),
        ("127.0.0.1:5", "gateway:1234", "gateway:1234"),
        ("[::]:5", "[fe80::1]", "[fe80::1]:5"),
    ],
)
def test_others_call_what_is_advertised_or_else_where_it_listens(listen: str, advertise: str, called: str) -> None:
    assert advertised_address(listen, advertise) == called


@pytest.mark.parametrize("listen", ["0.0.0.0:5", "[::]:5"])
def test_who_listens_everywhere_is_called_at_an_address_of_its_machine(listen: str) -> None:
    host, port = split_address(advertised_address(listen))
    assert port == 5
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.bind((host.strip("[]"), 0))  # only an address of this machine can be
        assert probe.getsockname()[0] not in {"0.0.0.0", "::"}


@pytest.mark.parametrize("advertise", ["", ":5", "host:0", "host:65536", "a b", "::1"])
def test_what_nobody_can_call_is_not_advertised(advertise: str) -> None:
    with pytest.raises(ValueError) as error:
        split_advertised(advertise)
    assert repr(advertise) in str(error.value)
