import pytest

from common.process.settings import WrongSettings, read_settings
from order_srv.crash_points import CrashPoint
from order_srv.settings import OrderSettings


@pytest.mark.parametrize("point", ["", *CrashPoint])
def test_every_crash_point_can_be_named(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    monkeypatch.setenv("ORDER_CRASH_AT", point)

    assert read_settings(OrderSettings).crash_at == point


def test_a_crash_point_that_there_is_not_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_CRASH_AT", "create_sould")

    with pytest.raises(
        WrongSettings, match=r"ORDER_CRASH_AT='create_sould': must be empty, or one of these.*create_sold"
    ):
        read_settings(OrderSettings)
