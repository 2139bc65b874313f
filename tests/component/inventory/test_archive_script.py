"""`python -m scripts.archive`: what a person runs, on the databases that the services' settings name."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

import inventory_srv.bootstrap
import order_srv.bootstrap
from common.database import Database, to_micros
from scripts.bench.harness.prefill import Prefill
from tests.support.databases import url_of
from tests.support.stock_changes import START

TIMEOUT_S = 60


@pytest.fixture
def databases(engine: str, tmp_path: Path) -> Iterator[dict[str, Database]]:
    """Ten sales of orders, made long ago; three of them are FINISHED."""
    found = {name: Database(url_of(tmp_path, name)) for name in ("inventory", "order", "archive")}
    found["inventory"].migrate(inventory_srv.bootstrap.MIGRATIONS)
    found["order"].migrate(order_srv.bootstrap.MIGRATIONS)
    prefill = Prefill(found["inventory"], found["order"])
    prefill.skus(5)
    prefill.sales(10, waiting=True)
    long_ago = (to_micros(START) - 90 * 86_400 * 1_000_000,)

    def age() -> None:
        for table in ("sale", "movement"):
            found["inventory"].execute(f"UPDATE {table} SET add_time = ?", long_ago)

    found["inventory"].write(age)
    finished = "UPDATE orders SET state = 'FINISHED' WHERE order_sn < '0-sku-0000000003'"
    found["order"].write(lambda: found["order"].execute(finished))
    yield found
    for database in found.values():
        database.close()


def archive(folder: Path, *arguments: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    urls = {f"{name.upper()}_DATABASE_URL": url_of(folder, name) for name in ("inventory", "order")}
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "scripts.archive",
            *(() if "--to" in arguments else ("--to", url_of(folder, "archive"))),
            *arguments,
        ],
        cwd=folder,
        env={**os.environ, **urls, **settings},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def sales(database: Database) -> int:
    with database.reading():
        (count,) = database.execute("SELECT COUNT(*) FROM sale").fetchone()
        return int(count)


def test_it_moves_what_is_over_and_tells_how_much(databases: dict[str, Database], tmp_path: Path) -> None:
    ended = archive(tmp_path, "--older-than", "30")

    assert ended.returncode == 0, ended.stderr
    answer = [line.partition(" from before")[0] for line in ended.stdout.splitlines()]
    assert answer == ["15 movements", "3 sales", "0 request ids"]
    assert (sales(databases["inventory"]), sales(databases["archive"])) == (7, 3)
    again = archive(tmp_path, "--older-than", "30")
    assert again.stdout.startswith("0 movements"), again.stderr


def test_what_messages_may_still_ask_for_is_not_archived(databases: dict[str, Database], tmp_path: Path) -> None:
    ended = archive(tmp_path, "--older-than", "7", ORDER_PAY_WITHIN="86400")

    assert ended.returncode == 2
    assert "--older-than 7: must be at least 7 days more than ORDER_PAY_WITHIN, which is 86400 s" in ended.stderr
    assert sales(databases["inventory"]) == 10


def refusal(folder: Path, *arguments: str, **settings: str) -> str:
    """The one line of an archiver that was called wrongly."""
    ended = archive(folder, *arguments, **settings)
    assert (ended.returncode, ended.stdout) == (2, ""), ended.stderr
    [line] = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("to", "fault"),
    [
        ("postgres://user:secret@host/name", "must be a URL that begins with sqlite:// or mysql://"),
        ("", "must be a URL that begins with sqlite:// or mysql://"),
        ("sqlite:///", "names no file"),
    ],
)
def test_an_archive_s_url_that_is_wrong_is_refused(tmp_path: Path, to: str, fault: str) -> None:
    line = refusal(tmp_path, "--to", to)

    assert line.startswith("--to ")
    assert fault in line
    assert "secret" not in line


def test_an_archive_that_is_no_database_is_refused(databases: dict[str, Database], tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database")

    line = refusal(tmp_path, "--to", f"sqlite:///{file}")

    assert line == f"--to: {file} is not a SQLite database; name another file, or move it away"
    assert file.read_text() == "not a database"
    assert sales(databases["inventory"]) == 10


@pytest.mark.parametrize("name", ["inventory", "order"])
def test_a_shop_s_database_is_not_its_own_archive(databases: dict[str, Database], tmp_path: Path, name: str) -> None:
    line = refusal(tmp_path, "--to", url_of(tmp_path, name), "--older-than", "30")

    assert line.startswith("--to: ")
    assert sales(databases["inventory"]) == 10


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("name", ["inventory", "order"])
def test_a_shop_s_database_that_is_not_there_is_refused_and_not_created(tmp_path: Path, name: str) -> None:
    variable, file = f"{name.upper()}_DATABASE_URL", tmp_path / "elsewhere" / "shop.db"

    line = refusal(tmp_path, **{variable: f"sqlite:///{file}"})

    assert line == f"{variable}: {file} is missing; name the file of a service that was started before"
    assert not file.parent.exists()


@pytest.mark.usefixtures("databases")
@pytest.mark.parametrize("name", ["inventory", "order"])
def test_a_shop_s_database_that_no_service_has_made_ready_is_refused(tmp_path: Path, name: str) -> None:
    variable, no_migrations = f"{name.upper()}_DATABASE_URL", tmp_path / "no migrations"
    no_migrations.mkdir()
    with closing(Database(url_of(tmp_path, "unused"))) as unused:
        unused.migrate(no_migrations)

    line = refusal(tmp_path, **{variable: url_of(tmp_path, "unused")})

    assert line.startswith(f"{variable}: ")
    assert line.endswith("start this version of its service once")
