"""The capacity model's arithmetic, with numbers that can be done in the head; its curve by queueing theory."""

import math
from dataclasses import replace
from typing import Any

import pytest

from scripts.bench.simulate import Costs, Deployment, Need, limits, needs, one_machine, read_costs, shards_met, waits

COSTS = Costs(
    order_srv=0.002,
    inventory_srv=0.0005,
    redis=0.0001,
    inventory_db=0.0004,
    order_db=0.0006,
    rocketmq=0.001,
    load=0.0004,
    commit=0.001,
)
DEPLOYMENT = Deployment(lines=1, cores=8, share=0.5, hop=0.0)


def count(found: list[Need], name: str) -> int:
    return next(need.count for need in found if need.name.startswith(name))


def test_one_machine_is_limited_by_its_cores_or_by_one_python() -> None:
    assert COSTS.together == pytest.approx(0.005)
    assert one_machine(COSTS, 2) == pytest.approx(400)
    assert one_machine(COSTS, 64) == pytest.approx(500), "the order service is one Python"


def test_an_order_of_one_line_meets_one_shard_and_one_of_very_many_meets_all() -> None:
    assert shards_met(7, 1) == pytest.approx(1)
    assert shards_met(2, 2) == pytest.approx(1.5)
    assert shards_met(4, 1000) == pytest.approx(4)


def test_every_kind_gets_as_many_as_keep_it_below_its_share() -> None:
    found = needs(COSTS, 1000, DEPLOYMENT)

    assert count(found, "order_srv") == 4
    assert count(found, "inventory_srv") == 1
    assert count(found, "stock shards (Redis)") == 1
    assert count(found, "stock shards (MariaDB)") == 1
    assert all(need.busy <= DEPLOYMENT.share + 1e-9 for need in found)
    assert count(needs(COSTS, 100_000, DEPLOYMENT), "order_srv") == 400
    assert count(needs(COSTS, 100_000, DEPLOYMENT), "order shards") == 15


def test_orders_of_several_lines_cost_more_the_more_stock_shards_there_are() -> None:
    single = needs(COSTS, 100_000, DEPLOYMENT)
    several = needs(COSTS, 100_000, Deployment(lines=5, cores=8, share=0.5, hop=0.0))

    one_core = math.ceil(100_000 * COSTS.redis / 0.5)
    assert count(single, "stock shards (MariaDB)") == one_core > 10, "each has a Redis, which is full first"
    assert count(single, "stock shards (Redis)") == one_core
    shards = count(several, "stock shards (MariaDB)")
    assert shards == count(several, "stock shards (Redis)")
    assert shards * 0.5 >= 100_000 * COSTS.redis * shards_met(shards, 5)
    assert shards * 8 * 0.5 >= 100_000 * COSTS.inventory_db * shards_met(shards, 5)
    assert count(several, "inventory_srv") == math.ceil(100_000 * COSTS.inventory_srv * shards_met(shards, 5) / 0.5)
    assert count(several, "order shards") == count(single, "order shards")


def test_the_next_limit_is_where_one_of_a_kind_is_as_busy_as_it_may_be() -> None:
    assert limits(COSTS, DEPLOYMENT) == pytest.approx(
        {
            "order_srv": 250,
            "inventory_srv": 1000,
            "RocketMQ brokers": 4000,
            "stock shards (Redis)": 5000,
            "order shards (MariaDB)": 6667,
            "stock shards (MariaDB)": 10_000,
        },
        rel=1e-3,
    )
    stock_is_cheap = replace(COSTS, inventory_srv=0.00001)
    assert list(limits(stock_is_cheap, DEPLOYMENT))[:2] == ["order_srv", "RocketMQ brokers"], "the next limit first"


def test_waiting_in_one_queue_is_that_of_queueing_theory() -> None:
    half_busy = [Need("one", 1, 1.0, 0.001, 500)]

    took = waits(COSTS, half_busy, 500, DEPLOYMENT, orders=60_000)

    apart = 3 * COSTS.commit
    assert sum(took) / len(took) - apart == pytest.approx(0.001 / (1 - 0.5), rel=0.08)  # M/M/1
    assert took[int(len(took) * 0.99)] - apart == pytest.approx(0.002 * math.log(100), rel=0.12)


def report(**others: float) -> dict[str, Any]:
    spent: dict[str, float] = {
        "Sell, mariadb": 300,
        "CreateOrder, order_srv": 2000,
        "CreateOrder, inventory_srv": 500,
        "CreateOrder, mariadb": 900,
        "CreateOrder, redis": 100,
        "CreateOrder, rocketmq-broker": 1000,
        "CreateOrder, load generator": 400,
        **others,
    }
    figures: list[dict[str, Any]] = [{"name": name, "value": {"median": micros}} for name, micros in spent.items()]
    commits = [{"name": "MariaDB, p50", "value": {"median": 1.5}}]
    return {"parts": {"costs": {"figures": figures}, "commits": {"figures": commits}}}


def test_costs_are_read_from_a_report() -> None:
    costs = read_costs(report())

    assert costs.order_srv == pytest.approx(0.002)
    assert costs.inventory_db == pytest.approx(0.0003)
    assert costs.order_db == pytest.approx(0.0006)
    assert costs.commit == pytest.approx(0.0015)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({}, "no part costs"),
        (report(**{"CreateOrder, rocketmq-broker": 0}), "`CreateOrder, rocketmq-broker` costs nothing"),
    ],
)
def test_costs_that_were_not_measured_are_told(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read_costs(wrong)
