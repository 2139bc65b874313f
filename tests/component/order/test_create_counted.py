"""What one whole CreateOrder asks of both databases, end to end: growth is to be noticed."""

import logging
import re
from collections.abc import Callable
from threading import current_thread
from typing import Any

import pytest

from common.database import Database
from tests.support.services import Services

_VERB = re.compile(r"[A-Z]+")
_TABLE = re.compile(r"(?:FROM|INTO|UPDATE) (\w+)")
_NOT_COUNTED = ("BEGIN", "COMMIT", "SET")  # of a packet: they come with its statements


def asked_by(caplog: pytest.LogCaptureFixture, thread: str) -> list[list[str]]:
    """What the threads of this name asked of a database: the packets, and in each its statements' verbs and tables."""
    packets = [
        record.msg[0].split(";")
        for record in caplog.records
        if record.name == "peewee" and (record.threadName or "").startswith(thread)
    ]
    named = [[(_VERB.findall(each)[0], *_TABLE.findall(each)[:1]) for each in packet] for packet in packets]
    return [[" ".join(words) for words in packet if words[0] not in _NOT_COUNTED] for packet in named]


def test_what_an_order_asks_of_the_databases(
    services: Services, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    user, tea, cup = services.new_user(), services.new_sku(10), services.new_sku(10)
    services.create(user, {tea: 1, cup: 1})  # from now on their lock is held, and their rows are known
    commits: list[Database] = []
    write = Database.write

    def counted(self: Database, work: Callable[[], Any], **how: Any) -> Any:
        if current_thread().name.startswith(("rpc", "stock-writer")):  # the first order's timeout may come meanwhile
            commits.append(self)
        return write(self, work, **how)

    monkeypatch.setattr(Database, "write", counted)
    with caplog.at_level(logging.DEBUG, "peewee"):
        services.create(user, {tea: 1, cup: 1})

    assert (len(commits), len(set(map(id, commits)))) == (3, 2), "two of the order's database, one of the stock's"
    on_a_server = bool(commits[0].for_update)
    added = ["INSERT orders", "INSERT order_line", "INSERT order_event"]
    opened = ["UPDATE orders", "INSERT order_event"]
    sold = ["INSERT sale", "INSERT sale_line", "INSERT movement", *["UPDATE stock"] * (1 if on_a_server else 2)]
    packets = [["SELECT goods"], added, opened]
    apart = [[each] for packet in packets for each in packet]  # a file is asked each by itself
    assert asked_by(caplog, "rpc") == (packets if on_a_server else apart)
    assert asked_by(caplog, "stock-writer") == ([sold] if on_a_server else [[each] for each in sold])
