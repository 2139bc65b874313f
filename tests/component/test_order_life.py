"""The whole life of orders on a manual clock: no order oversells or leaks, whatever goes wrong.

Hypothesis makes up runs of creates, payments, cancels, refunds, time, sweeps, messages lost, doubled, delayed and out
of turn, questions of the broker, lost calls and connections, crashes, and rivals at every crash point. After each step
a model of a few lines says whether the books can be so; in the end all comes to rest, and nothing may be missing.

    ORDER_LIFE_SEED=4711 pytest tests/component/test_order_life.py    the runs of that seed, which a failure prints
    REBACK_LONG=1 pytest tests/component/test_order_life.py           many more and longer runs, as `make long` has them
"""

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

import pytest
import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.component.order_life import plans
from tests.component.order_life.machine import RULES, Rule, order_life
from tests.component.order_life.without_rules import (
    NEVER_LOOKS_AT_THE_TIME,
    NEVER_OWES,
    FreesTheRequestFirst,
    GoesOnAfterAnUnknownInsert,
    LeavesNoTombstones,
    RepeatsSells,
    TakesLostForUndone,
    TakesNoSaleForReturned,
    TakesOneForAll,
    TakesZeroRowsForDead,
    creating_is_dead,
    deciding,
    left_out_is_refused,
    nothing_is_hurried,
    one_dead_order_is_enough,
    one_living_order_is_enough,
    reading_results,
    results_are_by_position,
    the_first_order_is_enough,
    what_was_not_read_does_not_count,
)
from tests.support.long_form import rounds

RUNS: Final = rounds(short=100, long=5000)
STEPS: Final = rounds(short=30, long=50)

AS_USUAL: Final = settings(
    max_examples=RUNS,
    stateful_step_count=STEPS,
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),  # a run is slow and draws much: that is what it is for
)
UNTIL_BROKEN: Final = settings(AS_USUAL, max_examples=300, phases=[Phase.generate])
"""Many times as many runs as it takes to find that a rule is missing."""


@pytest.fixture(autouse=True)
def _no_log_of_what_is_meant_to_go_wrong() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


@pytest.mark.timeout(60 + 3 * RUNS * STEPS // 30)
def test_orders_neither_oversell_nor_leak_whatever_goes_wrong(engine: str, tmp_path: Path) -> None:
    number = int(os.environ.get("ORDER_LIFE_SEED") or SystemRandom().randrange(10**9))
    print(f"\nORDER_LIFE_SEED={number} makes these runs again")  # noqa: T201 - pytest shows it when the test fails
    machine = seed(number)(order_life(tmp_path))
    try:
        # A server takes several times as long for each run; what is its own in them shows in fewer.
        runs = RUNS if engine == "sqlite" else max(1, RUNS // 4)
        run_state_machine_as_test(machine, settings=settings(AS_USUAL, max_examples=runs))
    finally:
        happened = "\n".join(f"{times:8} {what}" for what, times in sorted(machine.happened.items()))
        print(happened)  # noqa: T201 - how much of it happened, for those who ask with -s


ALWAYS: Final = RULES["create"][2]


TOLD: Final = "the broker was told to "
CREATES: Final = {name: RULES[name] for name in ("create", "create together")}
CLOSES: Final = {name: RULES[name] for name in ("cancel", "close together", "time out")}
SELLS: Final[dict[str, Rule]] = {"create together": (3, plans.sells_together, ALWAYS)}
LATE_SELLS: Final = {**SELLS, "arrive late": RULES["arrive late"]}
STOCK: Final[dict[str, Rule]] = {"count": (1, plans.counts, ALWAYS)}
LOSSES: Final = {"lose": RULES["lose"]}
MEMBERS_THAT_DIE: Final = {**SELLS, "cancel": RULES["cancel"], "ask": RULES["ask"], "time passes": RULES["time passes"]}


@pytest.mark.parametrize(
    ("without", "rules", "noticed"),
    [
        pytest.param(
            {"repository": TakesLostForUndone},
            {**CREATES, "pay": RULES["pay"], "cancel": RULES["cancel"]},
            TOLD + "give the stock of .* back, which is (CREATING|UNPAID|PAID)",
            id="no answer to COMMIT proves nothing",
        ),
        pytest.param(
            {"repository": TakesOneForAll},
            {**CREATES, "create together": (3, plans.lost_commits_together, ALWAYS)},
            TOLD + "give the stock of .* back, which is UNPAID",
            id="after an unknown move each row is read",
        ),
        pytest.param(
            {"repository": TakesZeroRowsForDead},
            {"create": (1, plans.calm_creates, ALWAYS), "cancel": (2, plans.paid_cancels, RULES["cancel"][2])},
            TOLD + "give the stock of .* back, which is PAID",
            id="zero rows prove nothing",
        ),
        pytest.param(
            {"repository": GoesOnAfterAnUnknownInsert},
            {"create together": (3, plans.lost_inserts, ALWAYS)},
            "no rest after so many rounds|a sale is nobody's order",
            id="no further after an unknown insert",
        ),
        pytest.param(
            {"repository": FreesTheRequestFirst},
            {"create": (1, plans.killed_creates, ALWAYS)},
            "is CREATING: order.request_id=None",
            id="a request is free again when its row fails",
        ),
        pytest.param(
            {"replaced": deciding(one_dead_order_is_enough)},
            MEMBERS_THAT_DIE,
            TOLD + "give the stock of .* back, which is (CREATING|UNPAID|PAID)",
            id="COMMIT only when all are dead",
        ),
        pytest.param(
            {"replaced": deciding(creating_is_dead)},
            {**CREATES, "ask": RULES["ask"]},
            TOLD + "give the stock of .* back, which is CREATING",
            id="CREATING is not dead",
        ),
        pytest.param(
            {"replaced": deciding(the_first_order_is_enough)},
            MEMBERS_THAT_DIE,
            TOLD + "give the stock of .* back, which is (CREATING|UNPAID|PAID)",
            id="every order is looked at",
        ),
        pytest.param(
            {"replaced": deciding(what_was_not_read_does_not_count)},
            {"create together": (3, plans.poisoned_creates, ALWAYS)},
            TOLD + "give the stock of .* back, which is CREATING",
            id="what was not read may live",
        ),
        pytest.param(
            {"replaced": deciding(one_living_order_is_enough)},
            MEMBERS_THAT_DIE,
            TOLD + "forget .*, which is (FAILED|CLOSED) and owes its stock",
            id="no ROLLBACK while one owes",
        ),
        pytest.param(
            {"replaced": deciding(nothing_is_hurried)},
            MEMBERS_THAT_DIE,
            TOLD + "ask again of .*, whose stock nobody returns now",
            id="what owes beside the living is hurried",
        ),
        pytest.param(
            {"replaced": NEVER_LOOKS_AT_THE_TIME},
            {**CREATES, **CLOSES},
            "was timed out too early",
            id="the time is looked at before a close",
        ),
        pytest.param(
            {"replaced": reading_results(left_out_is_refused)},
            SELLS,
            "leaked: .* is FAILED and holds its stock",
            id="what an answer leaves out is unclear",
        ),
        pytest.param(
            {"replaced": reading_results(results_are_by_position)},
            {**SELLS, **STOCK},
            "oversold: .* is UNPAID and holds nothing",
            id="answers are by order_sn",
        ),
        pytest.param(
            {"inventory": RepeatsSells},
            {"create": (2, plans.late_creates, ALWAYS), "arrive late": RULES["arrive late"], **STOCK},
            "leaked: .* is FAILED and holds its stock",
            id="a sell is never repeated",
        ),
        pytest.param(
            {"statement": NEVER_OWES},
            RULES,
            "leaked: .* is (FAILED|CLOSED) and holds its stock",
            id="a dead order owes its stock",
        ),
        pytest.param(
            {"inventory": TakesNoSaleForReturned},
            {**RULES, "create": (3, plans.unclear_creates, ALWAYS)},
            "leaked: .* is FAILED and holds its stock",
            id="no sale clears nothing",
        ),
        pytest.param(
            {"inventory": LeavesNoTombstones},
            {**LATE_SELLS, **LOSSES, "sweep": RULES["sweep"]},
            "leaked: .* is FAILED and holds its stock",
            id="a reback before its sell leaves a tombstone",
        ),
    ],
)
def test_a_rule_taken_out_is_noticed(
    tmp_path: Path, without: dict[str, Any], rules: dict[str, Rule], noticed: str
) -> None:
    machine = seed(1)(order_life(tmp_path, rules=rules, **without))

    with pytest.raises(AssertionError, match=noticed):
        run_state_machine_as_test(machine, settings=UNTIL_BROKEN)
