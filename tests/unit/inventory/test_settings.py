import pytest

from common.process.settings import WrongSettings, read_settings
from inventory_srv.bootstrap import _cache_url
from inventory_srv.crash_points import CrashPoint
from inventory_srv.entrypoints.consumers import MOST_ORDERS
from inventory_srv.settings import InventorySettings


@pytest.mark.parametrize("point", ["", *CrashPoint])
def test_every_crash_point_can_be_picked(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_CRASH_AT", point)

    assert read_settings(InventorySettings).crash_at == point


def test_a_crash_point_that_does_not_exist_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_CRASH_AT", "batch_token")

    with pytest.raises(WrongSettings, match=r"CRASH_AT='batch_token': must be empty, or one of these.*batch_taken"):
        read_settings(InventorySettings)


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, "local://"),
        ({"DATABASE_URL": "mysql://u:p@h/inventory"}, "none://"),
        ({"DATABASE_URL": "mysql://u:p@h/inventory", "LOCK_URL": "redis://h/0"}, "redis://h/0"),
        ({"LOCK_URL": "redis://u:p@h/0?expiry=60"}, "redis://u:p@h/0"),
        ({"LOCK_URL": "redis://h/0?prefix=a:&%65xpiry=60&timeout=2"}, "redis://h/0?prefix=a:&timeout=2"),
        ({"LOCK_URL": "redis://h/0", "CACHE_URL": "none://"}, "none://"),
        ({"DATABASE_URL": "mysql://u:p@h/inventory", "CACHE_URL": "local://?expiry=1"}, "local://?expiry=1"),
    ],
)
def test_stock_is_kept_where_every_replica_finds_it_unless_it_is_told_otherwise(
    settings: dict[str, str], kept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"INVENTORY_{name}", value)

    assert _cache_url(read_settings(InventorySettings)).reveal() == kept


def test_a_queue_that_a_whole_message_would_not_fit_into_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_QUEUE", str(MOST_ORDERS - 1))

    with pytest.raises(WrongSettings, match=f"QUEUE='{MOST_ORDERS - 1}'"):
        read_settings(InventorySettings)
