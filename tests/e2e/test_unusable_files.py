"""A service whose files can't be used: one line that names variable, file, fault and cure; exit 2; no traceback."""

from pathlib import Path

import pytest

from tests.e2e.test_service_processes import prefix_of, run

of_every_file = pytest.mark.parametrize(
    ("module", "variable", "scheme"),
    [
        ("inventory_srv", "INVENTORY_DATABASE_URL", "sqlite"),
        ("inventory_srv", "INVENTORY_BROKER_URL", "embedded"),
        ("order_srv", "ORDER_DATABASE_URL", "sqlite"),
        ("order_srv", "ORDER_BROKER_URL", "embedded"),
    ],
)


def refusal(module: str, folder: Path, variable: str, url: str) -> str:
    """What a service says on stderr that ends with 2."""
    ended = run(module, folder, **{variable: url, f"{prefix_of(module)}_LOG_LEVEL": "error"})
    assert (ended.returncode, ended.stdout) == (2, "")
    return ended.stderr


@of_every_file
def test_a_text_file_is_refused_and_left_alone(tmp_path: Path, module: str, variable: str, scheme: str) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database")

    told = refusal(module, tmp_path, variable, f"{scheme}:///{file}")

    assert told == f"{variable}: {file} is not a SQLite database; name another file, or move it away\n"
    assert file.read_text() == "not a database"


@of_every_file
def test_a_folder_that_takes_no_files_is_refused(tmp_path: Path, module: str, variable: str, scheme: str) -> None:
    told = refusal(module, tmp_path, variable, f"{scheme}:////proc/reback.db")

    assert told.startswith(f"{variable}: /proc/reback.db can't be used: nothing can be written to its folder /proc (")
    assert told.count("\n") == 1
