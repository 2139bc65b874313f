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
    NEVER_OWES,
    TakesLostForUndone,
    TakesNoSaleForReturned,
    TakesZeroRowsForDead,
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


@pytest.mark.parametrize(
    ("without", "rules", "noticed"),
    [
        pytest.param(
            {"repository": TakesLostForUndone},
            {"create": RULES["create"], "pay": RULES["pay"], "cancel": RULES["cancel"]},
            "the broker was told to give the stock of .* back, which is (CREATING|UNPAID|PAID)",
            id="rule 1: no answer to COMMIT proves nothing",
        ),
        pytest.param(
            {"repository": TakesZeroRowsForDead},
            {"create": (1, plans.calm_creates, ALWAYS), "cancel": (2, plans.paid_cancels, RULES["cancel"][2])},
            "the broker was told to give the stock of .* back, which is PAID",
            id="rule 1: zero rows prove nothing",
        ),
        pytest.param(
            {"statement": NEVER_OWES},
            RULES,
            "leaked: .* is (FAILED|CLOSED) and holds its stock",
            id="rule 2: a dead order owes its stock",
        ),
        pytest.param(
            {"inventory": TakesNoSaleForReturned},
            {**RULES, "create": (3, plans.unclear_creates, ALWAYS)},
            "leaked: .* is FAILED and holds its stock",
            id="rule 2: no sale clears nothing",
        ),
    ],
)
def test_a_rule_taken_out_is_noticed(
    tmp_path: Path, without: dict[str, Any], rules: dict[str, Rule], noticed: str
) -> None:
    machine = seed(1)(order_life(tmp_path, rules=rules, **without))

    with pytest.raises(AssertionError, match=noticed):
        run_state_machine_as_test(machine, settings=UNTIL_BROKEN)
