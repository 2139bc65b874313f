import pytest

from common.addresses import split_address


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
