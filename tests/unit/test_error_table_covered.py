"""Each row of the contract's error table, and the tests that show it: none is left without one."""

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

INVENTORY, ORDER, RPC = "component/inventory", "component/order", "component/rpc"

BAD_FIELDS_OF_INVENTORY = (
    f"{INVENTORY}/test_bad_input.py::test_a_field_that_breaks_its_rule_is_named_and_nothing_happens"
)
BAD_FIELDS_OF_ORDER = f"{ORDER}/test_bad_input.py::test_a_field_that_breaks_its_rule_is_named_and_nothing_happens"
CASES_OF_INVENTORY = f"{INVENTORY}/test_errors.py::test_a_refusal_tells_its_code_its_reason_and_its_facts"
CASES_OF_ORDER = f"{ORDER}/test_errors.py::test_an_error_has_its_code_reason_and_details_and_nothing_changes"
REFUSED_BY_INVENTORY = f"{ORDER}/test_errors.py::test_what_inventory_refuses_is_told_in_its_words_and_changes_no_stock"

ROWS = {
    "a field breaks its rule": [BAD_FIELDS_OF_INVENTORY, BAD_FIELDS_OF_ORDER],
    "a field of any request is tried": [
        f"{INVENTORY}/test_bad_input.py::test_every_rpc_has_its_fields_tried",
        f"{ORDER}/test_bad_input.py::test_every_field_of_every_request_is_tried",
    ],
    "bytes that are no request": [f"{RPC}/test_call_errors.py::test_bytes_that_are_no_message_are_the_callers_mistake"],
    "a page token of another list": [f"{ORDER}/test_lists.py::test_the_token_of_another_list_is_refused"],
    "unknown sku, sale, order, payment": [CASES_OF_INVENTORY, CASES_OF_ORDER],
    "too little stock: every short sku": [CASES_OF_INVENTORY, REFUSED_BY_INVENTORY],
    "sell after its reback": [CASES_OF_INVENTORY],
    "the same key with another content": [CASES_OF_INVENTORY, CASES_OF_ORDER],
    "the state does not allow it": [CASES_OF_ORDER],
    "goods off sale, without a price, in two currencies, at another total; nothing selected": [
        CASES_OF_ORDER,
        f"{ORDER}/test_cart.py::test_an_order_that_is_refused_leaves_the_cart_as_it_was",
    ],
    "another version than expected": [CASES_OF_INVENTORY],
    "the lock could not be acquired before the deadline": [
        f"{INVENTORY}/test_errors.py::test_told_to_refuse_a_lock_that_is_not_had_is_stock_busy"
    ],
    "the queue is full": [
        f"{INVENTORY}/test_errors.py::test_a_full_queue_is_told_at_once_as_stock_busy",
        f"{RPC}/test_call_errors.py::test_a_domain_error_arrives_whole",
    ],
    "the order failed while it was created": [
        f"{ORDER}/test_create_trouble.py::test_without_inventory_an_order_fails_and_owes_its_stock_until_inventory_is_back",
    ],
    "the database is down": [
        f"{INVENTORY}/test_errors.py::test_a_database_out_of_reach_is_unavailable",
        f"{ORDER}/test_unavailable.py::test_without_its_database_every_call_is_unavailable_and_changes_nothing",
    ],
    "the broker is down": [
        f"{ORDER}/test_create_trouble.py::test_without_a_broker_no_order_is_made_and_a_repeat_makes_it_later"
    ],
    "the outcome is not known yet": [
        f"{ORDER}/test_unavailable.py::test_an_order_that_is_being_created_is_neither_paid_nor_moved_by_anybody_else",
        f"{ORDER}/test_unavailable.py::test_a_create_that_can_not_read_its_order_after_the_sell_says_that_it_does_not_know",
    ],
    "a bug": [
        f"{INVENTORY}/test_errors.py::test_pitfall_18_a_bug_is_told_as_an_id_that_the_log_has_too",
        f"{ORDER}/test_errors.py::test_a_bug_is_told_as_an_id_and_never_as_its_text",
    ],
    "the caller's time is over": [
        f"{INVENTORY}/test_calls_that_leave.py::test_a_call_whose_deadline_passes_in_the_queue_sells_nothing",
        f"{ORDER}/test_create_trouble.py::test_a_create_whose_deadline_passed_before_its_turn_leaves_nothing_behind",
    ],
}


@cache
def names_in(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("row", ROWS)
def test_each_row_of_the_error_table_has_its_tests(row: str) -> None:
    for test in ROWS[row]:
        file, name = test.split("::")
        assert name in names_in(file), f"{row}: no test {test}"
