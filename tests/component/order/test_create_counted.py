"""What one whole CreateOrder asks of both databases, door to door: growth is to be noticed."""

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from common.database import Database
from tests.services import Services

_STATEMENT = re.compile(r"\b(SELECT .*? FROM|INSERT INTO|UPDATE) (\w+)", re.DOTALL)


def asked_by(caplog: pytest.LogCaptureFixture, thread: str) -> list[list[str]]:
    """What the threads of this name asked of a database: a packet each, and in it each statement's verb and table."""
    return [
        [f"{verb.split()[0]} {table}" for verb, table in _STATEMENT.findall(str(record.msg))]
        for record in caplog.records
        if record.name == "peewee" and (record.threadName or "").startswith(thread)
    ]


def test_what_an_order_asks_of_the_databases(
    services: Services, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, tea, cup = services.new_user(), services.new_sku(10), services.new_sku(10)
    services.create(user, {tea: 1, cup: 1})  # from now on their lock is held, and their rows are known
    commits: list[Database] = []
    write = Database.write

    def counted(self: Database, work: Callable[[], Any], **how: Any) -> Any:
        commits.append(self)
        return write(self, work, **how)

    monkeypatch.setattr(Database, "write", counted)
    with caplog.at_level(logging.DEBUG, "peewee"):
        services.create(user, {tea: 1, cup: 1})

    assert (len(commits), len(set(map(id, commits)))) == (3, 2), "two of the order's database, one of the stock's"
    orders, stock = asked_by(caplog, "rpc"), asked_by(caplog, "stock-writer")
    assert [statement for packet in orders for statement in packet] == [
        "SELECT goods",
        *("SELECT orders", "INSERT orders", "INSERT order_line", "INSERT order_event"),
        *("UPDATE orders", "INSERT order_event"),
    ]
    on_a_server = bool(commits[0].for_update)
    assert [statement for packet in stock for statement in packet] == [
        *("INSERT sale", "INSERT sale_line", "INSERT movement"),
        *["UPDATE stock"] * (1 if on_a_server else 2),
    ]
    if on_a_server:
        assert len(stock) == 1, "all that a batch writes travels in one packet"
