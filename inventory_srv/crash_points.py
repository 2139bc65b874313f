"""Where a test may kill or hold the inventory service: every gap between two outside effects, in order."""

from enum import StrEnum


class CrashPoint(StrEnum):
    """What `INVENTORY_CRASH_AT` takes."""

    BATCH_TAKEN = "batch_taken"
    """The writer took changes from its queue; no lock yet."""
    LOCK_HELD = "lock_held"
    """The lock of their skus is held; no transaction yet."""
    ROWS_HELD = "rows_held"
    """The rows are read and held in the transaction, or known without; nothing is written."""
    BATCH_BEFORE_COMMIT = "batch_before_commit"
    """What is to be written is known, a refusal was checked; it goes to a server in one packet with COMMIT, so that
    there is no gap between the two."""
    BATCH_COMMITTED = "batch_committed"
    """Committed; the lock is still held, the cache does not know, nobody is answered."""
    CALLER_ANSWERED = "caller_answered"
    """A caller of the batch is answered; the others, if there are any, are not."""
    LOCK_RELEASED = "lock_released"
    """The lock was kept for a while and is released; everybody is answered. A contended lock is released before that,
    right after its batch, and passes no crash point."""
    REBACK_DONE = "reback_done"
    """All rebacks of a message are committed; it is not acknowledged. Between its first reback and the rest lies
    `CALLER_ANSWERED`, where they are not merged."""
