"""The `google.api.http` annotations: a gateway without code of its own can offer every call over HTTP.

`google.api_core` makes the HTTP request of a call from its annotation, as a client of such a gateway does; `received`
makes the call of the HTTP request again, as the gateway does.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode

import pytest
from google.api import annotations_pb2  # type: ignore[import-untyped]
from google.api_core import path_template
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.support.services import Services, create_request, running_services

METHODS: list[MethodDescriptor] = [
    method
    for contract, service in ((stock_pb, "InventoryService"), (pb, "OrderService"))
    for method in contract.DESCRIPTOR.services_by_name[service].methods
]
BY_NAME = {method.name: method for method in METHODS}


@dataclass(frozen=True)
class Rule:
    """How a method is called over HTTP."""

    verb: str
    template: str
    body: str

    @property
    def variables(self) -> list[str]:
        return re.findall(r"{([^}=]+)", self.template)


@dataclass(frozen=True)
class HttpRequest:
    verb: str
    target: str
    body: str


def rule_of(method: MethodDescriptor) -> Rule:
    http = method.GetOptions().Extensions[annotations_pb2.http]
    verb = http.WhichOneof("pattern")
    assert verb is not None, f"{method.full_name} has no annotation"
    return Rule(verb, getattr(http, verb), http.body)


def sent(method: MethodDescriptor, request: Any) -> HttpRequest:
    """The HTTP request of a call."""
    rule = rule_of(method)
    option = {"method": rule.verb, "uri": rule.template} | ({"body": rule.body} if rule.body else {})
    transcoded = path_template.transcode([option], message=request)  # type: ignore[no-untyped-call]
    query = urlencode(list(query_pairs(json_format.MessageToDict(transcoded["query_params"]))))
    body = json_format.MessageToJson(transcoded["body"]) if "body" in transcoded else ""
    return HttpRequest(transcoded["method"], transcoded["uri"] + ("?" + query if query else ""), body)


def query_pairs(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from query_pairs(part, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for part in value:
            yield from query_pairs(part, path)
    else:
        yield path, json.dumps(value) if isinstance(value, bool) else str(value)


def matches(rule: Rule, verb: str, path: str) -> re.Match[str] | None:
    pattern = re.escape(rule.template)
    for index, variable in enumerate(rule.variables):
        pattern = pattern.replace(re.escape("{" + variable + "}"), f"(?P<v{index}>[^/:]+)")
    return re.fullmatch(pattern, path) if rule.verb == verb else None


def received(http: HttpRequest) -> tuple[MethodDescriptor, Any]:
    """The only method whose annotation fits an HTTP request, and the request that it gets."""
    path, _, query = http.target.partition("?")
    fitting = [(method, match) for method in METHODS if (match := matches(rule_of(method), http.verb, path))]
    assert len(fitting) == 1, f"{http.verb} {path} fits {[method.name for method, _ in fitting]}"
    method, match = fitting[0]
    rule = rule_of(method)
    fields: dict[str, Any] = {}
    if http.body:
        parsed = json.loads(http.body)
        fields = parsed if rule.body == "*" else {rule.body: parsed}
    for index, variable in enumerate(rule.variables):
        put(fields, variable, unquote(match[f"v{index}"]))
    request_class = GetMessageClass(method.input_type)
    for name, value in parse_qsl(query):
        put(fields, name, value, repeated=is_repeated(method, name))
    return method, json_format.ParseDict(fields, request_class())


def put(fields: dict[str, Any], path: str, value: str, *, repeated: bool = False) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        fields = fields.setdefault(parent, {})
    if repeated:
        fields.setdefault(name, []).append(value)
    else:
        fields[name] = value


def is_repeated(method: MethodDescriptor, path: str) -> bool:
    field = next(field for field in method.input_type.fields if path in {field.name, field.json_name})
    return bool(field.is_repeated)


def example(method: MethodDescriptor) -> Any:
    """A request with every field of its path filled in, and what else it takes to be whole."""
    request = GetMessageClass(method.input_type)()
    for variable in rule_of(method).variables:
        target: Any = request
        *parents, name = variable.split(".")
        for parent in parents:
            target = getattr(target, parent)
        field = target.DESCRIPTOR.fields_by_name[name]
        setattr(target, name, f"{name}-1" if field.type == field.TYPE_STRING else 7)
    return request


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_call_has_an_address_of_its_own(method: MethodDescriptor) -> None:
    request = example(method)
    http = sent(method, request)
    assert http.target.startswith("/v1/")
    assert received(http) == (method, request)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_call_that_changes_nothing_is_a_get_and_no_other_is(method: MethodDescriptor) -> None:
    reads = method.name.startswith(("Get", "BatchGet", "List", "Audit"))
    rule = rule_of(method)
    assert (rule.verb == "get") == reads
    assert bool(rule.body) == (rule.verb in {"put", "post"})


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_field_can_be_said_over_http(method: MethodDescriptor) -> None:
    """Path, body and query together: without a body a field goes into the query, which holds no list of messages."""
    rule = rule_of(method)
    if rule.body != "*":
        for field in method.input_type.fields:
            in_path = field.name in {variable.split(".")[0] for variable in rule.variables}
            is_time = field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp"
            assert in_path or field.message_type is None or is_time, field.full_name


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with running_services(tmp_path_factory.mktemp("shop")) as shared:
        yield shared


def call_over_http(services: Services, name: str, request: Any) -> Any:
    """Make the HTTP request, take it apart, and call what it is for."""
    method, again = received(sent(BY_NAME[name], request))
    assert (method.name, again) == (name, request)
    stub = services.inventory if method.containing_service.name == "InventoryService" else services.order
    return getattr(stub, method.name)(again)


def test_a_call_of_inventory_goes_over_http(services: Services) -> None:
    request = stock_pb.SetStockRequest(sku="grüner Tee 1", quantity=5, reason="délivery", request_id="r 1")
    http = sent(BY_NAME["SetStock"], request)
    assert (http.verb, http.target) == ("put", "/v1/stocks/gr%C3%BCner%20Tee%201")
    assert json.loads(http.body) == {"quantity": "5", "reason": "délivery", "requestId": "r 1"}

    stock = call_over_http(services, "SetStock", request)

    assert (stock.sku, stock.available) == ("grüner Tee 1", 5)
    assert call_over_http(services, "GetStock", stock_pb.GetStockRequest(sku="grüner Tee 1")) == stock
    many = stock_pb.BatchGetStocksRequest(skus=["grüner Tee 1", "grüner Tee 1"])
    assert list(call_over_http(services, "BatchGetStocks", many).stocks) == [stock, stock]


def test_calls_of_order_go_over_http(services: Services) -> None:
    sku = services.new_sku(5, 100)
    goods = pb.PutGoodsRequest(goods=pb.Goods(sku=sku, name="Tee", price_cents=120, currency="EUR", on_sale=True))
    assert call_over_http(services, "PutGoods", goods).price_cents == 120

    request = create_request(7, {sku: 2}, expected_total_cents=240, note="bitte läuten")
    http = sent(BY_NAME["CreateOrder"], request)
    assert (http.verb, http.target) == ("post", "/v1/users/7/orders")
    assert "userId" not in json.loads(http.body), "it is in the path"
    order = call_over_http(services, "CreateOrder", request)
    assert (order.state, order.total_cents, order.note) == (pb.ORDER_STATE_UNPAID, 240, "bitte läuten")

    get = pb.GetOrderRequest(user_id=7, order_sn=order.order_sn)
    assert sent(BY_NAME["GetOrder"], get).target == f"/v1/users/7/orders/{order.order_sn}"
    assert call_over_http(services, "GetOrder", get) == order
    unpaid = pb.ListOrdersRequest(user_id=7, state=pb.ORDER_STATE_UNPAID, page_size=3)
    assert sent(BY_NAME["ListOrders"], unpaid).target == "/v1/users/7/orders?state=ORDER_STATE_UNPAID&pageSize=3"
    assert list(call_over_http(services, "ListOrders", unpaid).orders) == [order]
    cancel = pb.CancelOrderRequest(user_id=7, order_sn=order.order_sn, reason="zu spät")
    assert sent(BY_NAME["CancelOrder"], cancel).target == f"/v1/users/7/orders/{order.order_sn}:cancel"
    assert call_over_http(services, "CancelOrder", cancel).close_reason == "zu spät"
