"""Each mistake that systems of this kind made, by its number, has a test whose name says that it is not made here."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]

PITFALLS = {
    1: "The lock is released before the commit, and an absolute stock value is written back: oversell.",
    2: "The second sku of an order is read from a snapshot taken at the first.",
    3: "Locks are taken in the order of the request: AB and BA wait for each other.",
    4: "An error path keeps the lock; taking it has no deadline.",
    5: "A repeated Sell fails or sells twice; a retry of the purchase of the last unit fails.",
    6: "Reback twice returns twice; reback before a late Sell is forgotten.",
    7: "Zero or negative quantities are accepted; the same sku in two lines loses one of them.",
    8: "Columns too short for a real order number, name or list of lines.",
    9: "A producer for each request: overlapping orders fail, nobody answers check-backs after a crash.",
    10: "A check-back during a slow local transaction returns the stock, and the order then commits.",
    11: "The timeout reads, then saves the whole row: it overwrites a payment made meanwhile.",
    12: "Only two of the error codes of a failed Sell return the stock. No deadline is set.",
    13: "Any text is a state, closed orders become paid, a missing pay time becomes 1970.",
    14: "A double click makes two orders; clearing the cart also removes what was put in meanwhile.",
    15: "Goods missing from the price book are dropped from the order without a word.",
    16: "Money as float; user id 0 reads everybody's orders; pages without a limit or an order.",
    17: "SIGTERM drops calls in flight; discovery picks an instance that fails its check.",
    18: "Exceptions reach the caller as a failure to serialize the response.",
}


def test_each_pitfall_has_a_test_that_names_it() -> None:
    named = {
        int(number)
        for file in TESTS.rglob("test_*.py")
        for number in re.findall(r"^def test_pitfall_(\d+)_", file.read_text(), re.MULTILINE)
    }
    assert named == set(PITFALLS)
