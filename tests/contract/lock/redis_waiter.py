"""A process that takes a key, says so, and holds it until its stdin is closed: `redis_waiter.py URL KEY`."""

import sys

from common.deadline import Deadline
from common.lock.drivers import open_lock


def main() -> None:
    lock = open_lock(sys.argv[1])
    with lock.holding(sys.argv[2:], Deadline.after(60)):
        sys.stdout.write("held\n")
        sys.stdout.flush()
        sys.stdin.read()
    lock.close()


if __name__ == "__main__":
    main()
