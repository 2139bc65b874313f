"""Errors that a caller can act on. Everything else is a bug.

    DomainError
      ├─ InvalidArgument      a field breaks its rule
      ├─ NotFound             no such thing
      ├─ FailedPrecondition   the state of the system does not allow it
      ├─ AlreadyExists        the same key with another content
      ├─ Aborted              lost a race; the caller may start over
      ├─ ResourceExhausted    too much at once
      ├─ DeadlineExceeded     the caller no longer waits
      └─ Unavailable          an engine is down or the outcome is not known; safe to repeat

The rules and use cases raise subclasses of these; `common.rpc.errors` turns them into a `google.rpc.Status` and back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks a rule, or one condition that does not hold.

    Attributes:
        subject: The field's path (`lines[2].name`), or what the condition is about (a key).
        description: What rule is broken, for a person.
        type: The kind of condition, for a program (`TOO_FEW`); empty for a field.
    """

    subject: str
    description: str
    type: str = ""


class DomainError(Exception):
    """An error with a stable reason.

    Attributes:
        reason: UPPER_SNAKE_CASE, stable for ever: what a program decides by.
        metadata: Facts about this one case, e.g. `{"name": "tea"}`.
        violations: Every field or condition at fault.
        domain: Of an error that another service answered: whose it is, such as `inventory`. Empty: raised here, or
            by gRPC itself.
    """

    reason: str = "UNKNOWN"
    domain: str = ""

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.violations: tuple[Violation, ...] = tuple(violations)


class InvalidArgument(DomainError):
    """A field breaks its rule; `violations` names each field."""

    reason = "INVALID_ARGUMENT"

    @classmethod
    def of(cls, violations: Sequence[Violation]) -> "InvalidArgument":
        """Make one whose message is the first violation, and how many more there are."""
        first, more = violations[0], len(violations) - 1
        text = f"{first.subject}: {first.description}" if first.subject else first.description
        return cls(f"{text} (and {more} more)" if more else text, violations=violations)


class NotFound(DomainError):
    """There is no such thing."""

    reason = "NOT_FOUND"


class FailedPrecondition(DomainError):
    """The state of the system does not allow it; repeating will not help before that changes."""

    reason = "FAILED_PRECONDITION"


class AlreadyExists(DomainError):
    """The same key was used with another content."""

    reason = "DIFFERENT_CONTENT"


class Aborted(DomainError):
    """A race was lost; the caller may read again and start over."""

    reason = "ABORTED"


class ResourceExhausted(DomainError):
    """Too much at once; come back later."""

    reason = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(DomainError):
    """The caller's deadline has passed; nothing more is done for it."""

    reason = "DEADLINE_EXCEEDED"


class Unavailable(DomainError):
    """An engine is down, or the outcome is not known yet. Safe to repeat: every change carries its key."""

    reason = "UNAVAILABLE"


class UnusableEngine(Exception):
    """A program must not start: an engine or a file that a setting names would break what it promises.

    Attributes:
        setting: The setting that names it, without its prefix, such as `DATABASE_URL`.
        lines: One for each fault: what it is about, what is wrong, what to do.
    """

    def __init__(self, setting: str, lines: Iterable[str]) -> None:
        self.setting = setting
        self.lines = tuple(lines)
        super().__init__("\n".join(f"{setting}: {line}" for line in self.lines))
