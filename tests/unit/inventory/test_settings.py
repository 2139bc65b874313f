import pytest

from common.settings import WrongSettings, read_settings
from inventory_srv.crash_points import CrashPoint
from inventory_srv.settings import InventorySettings


@pytest.mark.parametrize("point", ["", *CrashPoint])
def test_every_crash_point_can_be_picked(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_CRASH_AT", point)

    assert read_settings(InventorySettings).crash_at == point


def test_a_crash_point_that_does_not_exist_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_CRASH_AT", "batch_token")

    with pytest.raises(WrongSettings, match=r"INVENTORY_CRASH_AT='batch_token': no such crash point; .*batch_taken"):
        read_settings(InventorySettings)
