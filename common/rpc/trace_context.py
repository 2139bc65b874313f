"""The W3C trace context that a call comes with (https://www.w3.org/TR/trace-context/)."""

import re
from typing import Final

import grpc

_HEADER: Final = "traceparent"
_FORM: Final = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(context: grpc.ServicerContext) -> str:
    """The call's `traceparent` header; empty when it has none of the form that the standard gives."""
    for key, value in context.invocation_metadata() or ():
        if key == _HEADER:
            return value if isinstance(value, str) and _FORM.fullmatch(value) else ""
    return ""
