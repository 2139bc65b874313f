"""Inventory's refusals as JSON, kept with the failed order so that a repeated request gets the same error."""

import json

from common.errors import DomainError, FailedPrecondition, NotFound, Violation

_BUSINESS_REASONS = frozenset({"NO_STOCK", "SKU_NOT_FOUND"})
_KINDS = {kind.__name__: kind for kind in (FailedPrecondition, NotFound)}


def is_business(refusal: DomainError) -> bool:
    """Whether the refusal is an answer for good, rather than one that a new order may not get."""
    return refusal.reason in _BUSINESS_REASONS and _kind(refusal) is not None


def dump(refusal: DomainError) -> str:
    """Write a refusal of business down."""
    return json.dumps(
        {
            "kind": _kind(refusal),
            "reason": refusal.reason,
            "message": refusal.message,
            "metadata": refusal.metadata,
            "violations": [[v.subject, v.description, v.type] for v in refusal.violations],
        },
        ensure_ascii=False,  # a hundred long skus have to fit into 64 KB
    )


def load(text: str) -> DomainError:
    """Read it back."""
    written = json.loads(text)
    return _KINDS[written["kind"]](
        written["message"],
        reason=written["reason"],
        metadata=written["metadata"],
        violations=[Violation(*violation) for violation in written["violations"]],
    )


def _kind(refusal: DomainError) -> str | None:
    return next((name for name, kind in _KINDS.items() if isinstance(refusal, kind)), None)
