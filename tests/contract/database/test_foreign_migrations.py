"""A database that another service has migrated is refused, on every engine."""

from pathlib import Path

import pytest

from common.errors import UnusableEngine
from tests.contract.database.harness import Harness

OTHERS = """
def up(migrator, db):
    db.execute_sql("CREATE TABLE other (id INTEGER)")
"""


def test_a_database_of_another_service_is_refused_and_not_changed(harness: Harness, tmp_path: Path) -> None:
    (tmp_path / "0001_other.py").write_text(OTHERS)
    database = harness.open()

    with pytest.raises(UnusableEngine, match="is another service's: it has migration '0001_note'"):
        database.migrate(tmp_path)

    with database.reading():
        assert "other" not in database.engine.get_tables()
