"""How either engine finds the rows of what is asked of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from common.database import Database

_COLUMNS: Final = ("id", "kind", "table", "type", "possible", "key", "length", "ref", "rows", "extra")


def dear_plans(database: Database, work: Callable[[], object]) -> dict[str, list[str]]:
    """The statements of `work` that read a table whole or sort what they cut a page of, each with its plan."""
    with _statements(database) as seen:
        work()
    plans = {
        statement: plan_of(database, statement, values)
        for statement, values in seen
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
    }
    assert plans, "nothing was asked of the database"
    return {statement: plan for statement, plan in plans.items() if "WHOLE" in str(plan) or "SORTED" in str(plan)}


def count_rows(database: Database, *tables: str) -> None:
    """Let the engine know how many rows there are: it reads a table whole that it takes for empty."""
    with database.reading():
        for table in tables if database.for_update else ():
            database.execute(f"ANALYZE TABLE {table}").fetchall()


@contextmanager
def _statements(database: Database) -> Iterator[list[tuple[str, Sequence[Any]]]]:
    """What the engine is given meanwhile: each statement and its values."""
    engine, run = database.engine, database.engine.execute_sql
    seen: list[tuple[str, Sequence[Any]]] = []

    def execute_sql(statement: str, values: Sequence[Any] = ()) -> Any:
        rest = iter(values)  # a packet has several statements
        seen.extend((each, list(islice(rest, each.count(engine.param)))) for each in statement.split(";"))
        return run(statement, values)

    engine.execute_sql = execute_sql
    try:
        yield seen
    finally:
        engine.execute_sql = run


def plan_of(database: Database, statement: str, values: Sequence[Any]) -> list[str]:
    """How an engine finds the rows of a statement, table by table; WHOLE and SORTED are what costs by their number.

    Along an index, with a LIMIT, is a page; sorting what was found by key costs by what was asked for.
    """
    with database.reading():
        if database.for_update:
            plan = database.engine.execute_sql(f"EXPLAIN {statement}", values).fetchall()
            return [_step_of_server(dict(zip(_COLUMNS, row, strict=True)), "LIMIT" in statement) for row in plan]
        plan = database.engine.execute_sql(f"EXPLAIN QUERY PLAN {statement}", values).fetchall()
    return [_step_of_file(row[3], "LIMIT" in statement) for row in plan]


def _step_of_server(row: dict[str, Any], is_page: bool) -> str:
    is_table = not str(row["table"]).startswith("<")  # `<derived2>`: rows that a step of its own has found
    whole = is_table and (row["type"] == "ALL" or (row["type"] == "index" and not is_page))
    is_sorted = is_page and "filesort" in (row["extra"] or "")
    return f"{'WHOLE' if whole else row['type']} {row['table']} by {row['key']}{' SORTED' if is_sorted else ''}"


def _step_of_file(step: str, is_page: bool) -> str:
    if step.startswith("SCAN") and not is_page:
        return f"WHOLE {step}"
    return f"SORTED {step}" if "TEMP B-TREE" in step and is_page else step
