import traceback
from collections.abc import Callable
from typing import NoReturn

import grpc
import pytest
import structlog
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure
from grpc_status import rpc_status

from common.discovery.drivers import open_discovery
from common.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable, Violation
from common.lock.port import LockLost
from common.rpc import errors, interceptor
from common.rpc.channel import open_channel
from common.rpc.errors import to_domain_error
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from tests.component.rpc.conftest import GET_STOCK, SERVICE, Serve, Served
from tests.support.waiting import TIMEOUT_S


def refused(served: Served, sku: str = "tea") -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as error:
        served.get(sku)
    return error.value


def sell(served: Served, *lines: tuple[str, int], order_sn: str = "1") -> grpc.RpcError:
    request = inventory_pb2.SellRequest(
        order_sn=order_sn, lines=[inventory_pb2.SaleLine(sku=sku, quantity=quantity) for sku, quantity in lines]
    )
    with pytest.raises(grpc.RpcError) as error:
        served.stub.Sell(request, timeout=TIMEOUT_S)
    return error.value


def raising(error: Exception) -> Callable[..., NoReturn]:
    def handler(*_: object) -> NoReturn:
        raise error

    return handler


def raw(served: Served, method: str) -> Callable[..., bytes]:
    """Calls a method with bytes."""
    return served.channel.unary_unary(method)


def test_each_field_that_breaks_its_rule_is_named_with_the_rule(serve: Serve) -> None:
    served = serve()
    status = rpc_status.from_call(sell(served, ("tea", 1), ("", 0), ("x" * 65, 1), order_sn=""))
    info, bad = ErrorInfo(), BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("INVALID_ARGUMENT", "inventory")
    answer = {each.field: each.description for each in bad.field_violations}
    assert set(answer) == {"order_sn", "lines[1].sku", "lines[1].quantity", "lines[2].sku"}
    assert "64" in answer["lines[2].sku"]
    assert "1" in answer["lines[1].quantity"]
    assert status.message.startswith("order_sn: ")
    assert status.message.endswith("(and 3 more)")


def test_a_request_that_breaks_a_rule_never_reaches_the_handler(serve: Serve) -> None:
    served = serve()
    sell(served, ("tea", 0))
    assert served.inventory.calls == []


def test_two_hundred_bad_fields_reach_a_client_with_default_limits(serve: Serve) -> None:
    error = to_domain_error(sell(serve(), *[("", -1)] * 100))
    assert isinstance(error, InvalidArgument)
    assert error.metadata == {"violations_total": "200"}
    assert len(error.violations) > 40
    assert error.violations[0].subject == "lines[0].sku"


def test_bytes_that_are_no_message_are_the_callers_mistake(serve: Serve) -> None:
    served = serve()
    with pytest.raises(grpc.RpcError) as error:
        raw(served, GET_STOCK)(b"\xff\xff\xff", timeout=TIMEOUT_S)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert to_domain_error(error.value).reason == "MALFORMED_REQUEST"
    assert served.inventory.calls == []


def test_a_domain_error_arrives_whole(serve: Serve) -> None:
    violations = (Violation("tea", "asked 5, available 3", "NO_STOCK"),)
    answer = FailedPrecondition(
        "too little tea 🍵", reason="NO_STOCK", metadata={"order_sn": "1"}, violations=violations
    )
    error = refused(serve(raising(answer)))
    status, failure = rpc_status.from_call(error), PreconditionFailure()
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert error.details() == "too little tea 🍵"
    assert status.details[1].Unpack(failure)
    assert failure.violations[0].subject == "tea"
    back = to_domain_error(error)
    assert (type(back), back.reason, back.metadata, back.violations) == (
        FailedPrecondition,
        "NO_STOCK",
        {"order_sn": "1"},
        violations,
    )


def hundred_short_skus() -> list[Violation]:
    return [Violation("😀" * 62 + f"{n:02}", "asked 2147483647, available 9", "NO_STOCK") for n in range(100)]


def test_a_hundred_long_skus_reach_a_client_with_default_limits_as_far_as_they_fit(serve: Serve) -> None:
    served = serve(raising(FailedPrecondition("short", reason="NO_STOCK", violations=hundred_short_skus())))
    for _ in range(20):  # gRPC breaks a call above its soft limit only now and then
        error = to_domain_error(refused(served))
        assert isinstance(error, FailedPrecondition)
        assert (error.reason, error.metadata) == ("NO_STOCK", {"violations_total": "100"})
        assert error.violations == tuple(hundred_short_skus()[: len(error.violations)])
        assert len(error.violations) > 10


def test_a_hundred_long_skus_reach_our_own_channel_all(serve: Serve) -> None:
    served = serve(raising(FailedPrecondition("short", reason="NO_STOCK", violations=hundred_short_skus())))
    discovery = open_discovery(f"static://?inventory-srv={served.server.address}")
    with open_channel(discovery, "inventory-srv") as channel:
        stub = inventory_pb2_grpc.InventoryServiceStub(channel)
        for _ in range(20):
            with pytest.raises(grpc.RpcError) as error:
                stub.GetStock(inventory_pb2.GetStockRequest(sku="tea"), timeout=TIMEOUT_S)
            back = to_domain_error(error.value)
            assert isinstance(back, FailedPrecondition)
            assert back.metadata == {}
            assert back.violations == tuple(hundred_short_skus())


def assert_internal_with_an_id_that_the_log_has(served: Served, secret: str) -> None:
    with structlog.testing.capture_logs() as logs:
        error = refused(served)
    back = to_domain_error(error)
    assert error.code() is grpc.StatusCode.INTERNAL
    assert isinstance(back, Unavailable)  # nobody knows how far it got
    assert back.reason == "INTERNAL"
    (line,) = logs
    assert line["error_id"] == back.metadata["error_id"]
    assert line["error_id"] in str(error.details())
    assert line["method"] == GET_STOCK
    assert secret in "".join(traceback.format_exception(line["exc_info"]))
    assert secret not in str(error)
    assert secret not in str(error.trailing_metadata())


def test_a_bug_is_internal_with_an_id_and_never_its_text(serve: Serve) -> None:
    served = serve(raising(RuntimeError("hunter2")))
    assert_internal_with_an_id_that_the_log_has(served, "hunter2")


def test_an_error_without_a_code_is_a_bug(serve: Serve) -> None:
    assert_internal_with_an_id_that_the_log_has(serve(raising(LockLost("lost it"))), "lost it")


def test_an_error_with_a_text_that_cant_be_sent_is_a_bug(serve: Serve) -> None:
    assert_internal_with_an_id_that_the_log_has(serve(raising(NotFound("\ud800"))), "surrogates")


@pytest.mark.parametrize("answer", [inventory_pb2.Sale(order_sn="1"), None, {"sku": "tea"}])
def test_pitfall_18_an_answer_of_the_wrong_kind_is_internal_with_an_id(serve: Serve, answer: object) -> None:
    served = serve(lambda *_: answer)
    assert_internal_with_an_id_that_the_log_has(served, f"returned a {type(answer).__name__}")


def test_pitfall_18_an_answer_that_cant_be_written_is_internal_with_an_id(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = inventory_pb2.Stock()
    served = serve(lambda *_: stock)
    served.get()  # the call is built now
    handler = served.server._interceptor._handlers[GET_STOCK].unary_unary
    monkeypatch.setattr(handler, "_write", raising(ValueError("unwritable")))
    assert_internal_with_an_id_that_the_log_has(served, "unwritable")


@pytest.mark.parametrize("failing", ["max_bytes_of", "to_status", "code_of"])
def test_an_error_that_can_t_be_built_is_internal_with_an_id(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    real, failures = getattr(interceptor, failing), iter([RuntimeError("unbuildable")])

    def fails_once(*args: object, **named: object) -> object:
        for failure in failures:
            raise failure
        return real(*args, **named)

    monkeypatch.setattr(interceptor, failing, fails_once)
    answer = NotFound("none", reason=f"NOT_SEEN_BEFORE_{failing.upper()}")  # so that no built status is kept of it
    assert_internal_with_an_id_that_the_log_has(serve(raising(answer)), "unbuildable")


def test_a_log_that_can_t_be_written_changes_no_answer(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk:
        error = staticmethod(raising(OSError("no space left on device")))

    monkeypatch.setattr(errors, "log", FullDisk())
    error = refused(serve(raising(RuntimeError("hunter2"))))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert to_domain_error(error).reason == "INTERNAL"


def test_a_handler_may_still_abort_by_grpcs_own_means(serve: Serve) -> None:
    def handler(_: object, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you")

    error = refused(serve(handler))
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, "not you")


def test_an_unknown_method_is_unimplemented(serve: Serve) -> None:
    with pytest.raises(grpc.RpcError) as error:
        raw(serve(), f"/{SERVICE}/Steal")(b"", timeout=TIMEOUT_S)
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_calls_go_on_after_every_kind_of_error(serve: Serve) -> None:
    def handler(request: inventory_pb2.GetStockRequest, _: object) -> inventory_pb2.Stock:
        if request.sku == "bug":
            raise RuntimeError
        if request.sku == "none":
            raise NotFound("none", reason="SKU_NOT_FOUND")
        return inventory_pb2.Stock(sku=request.sku)

    served = serve(handler, threads=2)
    for _ in range(10):
        assert refused(served, "bug").code() is grpc.StatusCode.INTERNAL
        assert refused(served, "none").code() is grpc.StatusCode.NOT_FOUND
        assert refused(served, "").code() is grpc.StatusCode.INVALID_ARGUMENT
        assert served.get("tea").sku == "tea"
