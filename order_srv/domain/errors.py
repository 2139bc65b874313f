"""The errors that callers of the order service can get."""

from common.errors import (
    Aborted,
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    NotFound,
    Unavailable,
    Violation,
)
from order_srv.domain.order_state import State


class OrderNotFound(NotFound):
    """No such order, or not this user's."""

    reason = "ORDER_NOT_FOUND"

    def __init__(self, order_sn: str) -> None:
        super().__init__(f"no order {order_sn}", metadata={"order_sn": order_sn})


class PaymentNotFound(NotFound):
    """No such payment."""

    reason = "PAYMENT_NOT_FOUND"

    def __init__(self, payment_id: str) -> None:
        super().__init__(f"no payment {payment_id}", metadata={"payment_id": payment_id})


class SkuNotFound(NotFound):
    """Skus that the price book does not have; every one is named."""

    reason = "SKU_NOT_FOUND"

    def __init__(self, skus: list[str]) -> None:
        super().__init__(
            f"not in the price book: {', '.join(skus)}",
            violations=[Violation(sku, "not in the price book", "SKU_NOT_FOUND") for sku in skus],
        )


class DifferentContent(AlreadyExists):
    """A key that was used before, with another content."""

    reason = "DIFFERENT_CONTENT"

    def __init__(self, field: str, value: str) -> None:
        super().__init__(f"{field} {value} was used before with another content", metadata={field: value})


class OrderFailed(Aborted):
    """The order failed while it was created; its stock goes back."""

    reason = "ORDER_FAILED"

    def __init__(self, order_sn: str, failure_reason: str) -> None:
        super().__init__(
            f"order {order_sn} failed: {failure_reason}; what it took goes back",
            metadata={"order_sn": order_sn, "failure_reason": failure_reason},
        )


def state_forbids(order_sn: str, state: State) -> DomainError:
    """The error for a request that the order's state does not allow."""
    if state is State.CREATING:
        return Unavailable(
            f"order {order_sn} is being created, repeat the call",
            reason="ORDER_CREATING",
            metadata={"order_sn": order_sn},
        )
    reason = f"ORDER_{state}"
    return FailedPrecondition(
        f"order {order_sn} is {state}",
        reason=reason,
        metadata={"order_sn": order_sn, "state": state.value},
        violations=[Violation(order_sn, f"the order is {state}", reason)],
    )


class OutcomeUnknown(Unavailable):
    """What became of a change is not known yet; safe to repeat.

    Args:
        order_sn: Of which order; empty: of several.
    """

    reason = "OUTCOME_UNKNOWN"

    def __init__(self, order_sn: str = "") -> None:
        whose = f"order {order_sn}" if order_sn else "these orders"
        super().__init__(
            f"the outcome for {whose} is not known yet, repeat the call",
            metadata={"order_sn": order_sn} if order_sn else {},
        )
