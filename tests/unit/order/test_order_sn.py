from datetime import UTC, datetime, timedelta
from itertools import pairwise

from ulid import ULID

from order_srv.domain.order_sn import new_order_sn

NOW = datetime(2026, 3, 4, 5, 6, 7, 417_999, tzinfo=UTC)
RANDOM_BITS = 80


def random_part(order_sn: str) -> int:
    return int.from_bytes(ULID.from_str(order_sn).bytes[6:], "big")


def test_order_numbers_sort_by_time() -> None:
    numbers = [new_order_sn(NOW + timedelta(milliseconds=step)) for step in range(500)]
    assert numbers == sorted(numbers)


def test_an_order_number_tells_its_millisecond() -> None:
    for micros in range(0, 1_000_000, 1000):
        moment = NOW.replace(microsecond=micros)
        assert ULID.from_str(new_order_sn(moment)).milliseconds % 1000 == micros // 1000


def test_every_one_of_80_bits_is_random_even_within_one_millisecond() -> None:
    parts = [random_part(new_order_sn(NOW)) for _ in range(300)]
    for bit in range(RANDOM_BITS):
        changes = sum((one >> bit & 1) != (next_one >> bit & 1) for one, next_one in pairwise(parts))
        assert 50 < changes < 250, f"bit {bit} changed {changes} times in {len(parts)} numbers"
