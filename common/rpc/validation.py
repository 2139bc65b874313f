"""Field rules: the proto's `buf.validate` rules, checked on a request."""

from typing import Final

from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from protovalidate import FieldPathElementPb, Validator

from common.errors import InvalidArgument, Violation

_VALIDATOR: Final = Validator()  # keeps the compiled rules of every message it has seen; safe in threads


def check(request: Message) -> None:
    """Check a request against the rules in its proto.

    Raises:
        InvalidArgument: With a violation for each broken rule, its subject the field's path: `lines[2].name`.
    """
    broken = _VALIDATOR.collect_violations(request)
    if broken:
        found = [rule.proto for rule in broken]
        violations = [Violation(_path(each.field.elements if each.field else ()), each.message) for each in found]
        raise InvalidArgument.of(violations)


def compile_rules(service: str) -> None:
    """Compile the rules of a service's requests now, so that a wrong rule fails the start and not the first call.

    Args:
        service: Its full name, such as `reback.order.v1.OrderService`.

    Raises:
        KeyError: No such service was generated.
        protovalidate.CompilationError: A rule in the proto makes no sense.
    """
    for method in descriptor_pool.Default().FindServiceByName(service).methods:
        _VALIDATOR.collect_violations(GetMessageClass(method.input_type)())


def _path(elements: tuple[FieldPathElementPb, ...] | list[FieldPathElementPb]) -> str:
    """A field's path as people write it; empty for a rule about the whole message."""
    return ".".join(_step(element) for element in elements)


def _step(element: FieldPathElementPb) -> str:
    if element.subscript is None:
        return element.field_name
    key = element.subscript.value
    return f'{element.field_name}["{key}"]' if isinstance(key, str) else f"{element.field_name}[{key}]"
