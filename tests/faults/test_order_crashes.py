"""kill -9 of the order service at every gap between two outside effects, then a restart."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, cast

import pytest

from order_srv.crash_points import CrashPoint
from order_srv.settings import OrderSettings
from tests.faults.group_crash_scenarios import ALONE, GROUP_SCENARIOS, MEMBERS, GroupScene
from tests.faults.order_crash_scenarios import BROKER, SCENARIOS, STOCK, Scenario, Scene
from tests.support.books import assert_books_balance
from tests.support.broker_file import BrokerLock, half_messages
from tests.support.inventory_proxy import InventoryProxy, proxied
from tests.support.service_process import process
from tests.support.services import Services, order_settings, running_inventory, running_order
from tests.support.tables import states, unsettled
from tests.support.waiting import wait_until
from tests.support.worlds import World, world_of

CREATING_GRACE: Final = 2.0
SWEEP_EVERY: Final = 0.3
CHECK_EVERY: Final = 0.3
SETTLED_WITHIN: Final = CREATING_GRACE + SWEEP_EVERY + CHECK_EVERY + 5.0

ALL: Final = [*SCENARIOS, *GROUP_SCENARIOS]

_AFTER: Final = {"creating_grace": CREATING_GRACE, "sweep_every": SWEEP_EVERY, "sweep_grace": 1, "return_after": 0.5}
_CHECK_BACKS: Final = 3  # that may come before the one that a scenario is about
_DYING: Final = {"creating_grace": 30, "sweep_every": 3600}  # nobody but the scenario brings it to its point


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[InventoryProxy]:
    """Inventory, which nobody kills here, through a network that may lose answers."""
    with (
        running_inventory(tmp_path, world_of(tmp_path).broker(BROKER)) as inventory,
        proxied(inventory.address) as passing,
    ):
        yield passing


def settings(folder: Path, proxy: InventoryProxy, **more: Any) -> OrderSettings:
    broker = more.pop("broker", BROKER)
    return order_settings(folder, proxy.address, **world_of(folder).broker(broker), **more)


def test_every_crash_point_has_a_scenario() -> None:
    assert {scenario.point for scenario in SCENARIOS} == set(CrashPoint)


def test_every_crash_point_that_a_group_passes_has_a_scenario_of_several_orders() -> None:
    assert {scenario.point for scenario in GROUP_SCENARIOS} | ALONE == set(CrashPoint)


@pytest.mark.parametrize("scenario", [each for each in ALL if not each.locks_broker], ids=str)
def test_order_killed_at_a_gap_leaves_nothing_behind(
    world: World, scenario: Scenario, tmp_path: Path, proxy: InventoryProxy
) -> None:
    assert_nothing_is_left_behind(scenario, tmp_path, proxy)


@pytest.mark.parametrize("scenario", [each for each in ALL if each.locks_broker], ids=str)
def test_order_killed_while_the_broker_takes_nothing_leaves_nothing_behind(
    timed_world: World, scenario: Scenario, tmp_path: Path, proxy: InventoryProxy
) -> None:
    assert_nothing_is_left_behind(scenario, tmp_path, proxy)


def assert_nothing_is_left_behind(scenario: Scenario, tmp_path: Path, proxy: InventoryProxy) -> None:
    lock = BrokerLock(tmp_path)
    try:
        scene = die(scenario, tmp_path, proxy, lock)
    finally:
        lock.release()
    assert left_by(tmp_path) == scenario.leaves
    proxy.heal()
    after = dict(settings(tmp_path, proxy)) | _AFTER | {"pay_within": 600}
    with running_order(tmp_path, proxy.address, after) as order:
        scene.shop = Services(tmp_path, cast("Any", proxy), order)
        wait_until(lambda: not unsettled(tmp_path), "all orders at rest, no stock owed", SETTLED_WITHIN)
        if world_of(tmp_path).has_broker_in_file:
            wait_until(lambda: not half_messages(tmp_path), "every half message answered")
        assert_balance(scene)
        scenario.check(scene)
        assert_balance(scene)
        scene.shop.close()


def die(scenario: Scenario, folder: Path, proxy: InventoryProxy, lock: BrokerLock) -> Scene:
    """Act the scenario until the service is dead."""
    dying = settings(folder, proxy, **_DYING | scenario.settings, crash_at=scenario.point.value)
    several = scenario in GROUP_SCENARIOS
    with process(folder, dying, gather=MEMBERS if several else 0) as victim:
        shop = Services(folder, cast("Any", proxy), cast("Any", victim))
        make = GroupScene if several else Scene
        scene = make(shop, proxy, lock, folder, shop.new_user(), shop.new_sku(STOCK))
        scenario.act(scene)
        victim.wait_until_killed()
        shop.close()
    for _ in range(_CHECK_BACKS if scenario.point is CrashPoint.CHECK_BACK_MOVED else 0):
        if left_by(folder) == scenario.leaves:
            break
        # RocketMQ also checks back on the create's half message, though that is resolved: the service died of this one.
        with process(folder, dying) as victim:
            victim.wait_until_killed()
    return scene


def left_by(folder: Path) -> str:
    """The states of all orders, in alphabetical order."""
    return " ".join(sorted(states(folder)))


def assert_balance(scene: Scene) -> None:
    assert_books_balance(scene.shop.inventory, scene.shop.order, users=[scene.user])
