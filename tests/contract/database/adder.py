"""A process that adds to a note: `python adder.py URL KEY TIMES`."""

import sys

from common.database import Database
from tests.contract.database.harness import MIGRATIONS
from tests.contract.database.notes import add_one


def main(url: str, key: str, times: int) -> None:
    database = Database(url)
    sys.stdout.write(f"{database.migrate(MIGRATIONS)}\n")
    sys.stdout.flush()
    if times:
        sys.stdin.readline()
    for _ in range(times):
        database.write(lambda: add_one(database, key))
    database.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
