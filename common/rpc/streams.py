"""Open streams, so that a server that stops can end them: a watch never ends by itself."""

from collections.abc import Callable
from functools import wraps
from threading import Lock
from typing import Any

import grpc


class OpenStreams:
    """The streaming calls that are being answered.

    Args:
        most: How many may be open: each keeps a thread. One more is UNIMPLEMENTED, which clients that watch health take
            for a server that is not watched, and call.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._contexts: set[grpc.ServicerContext] = set()
        self._changing = Lock()

    def counting(self, handler: Any) -> Any:
        """The same method handler, whose calls are known here while they last."""
        kind = "stream_" if handler.request_streaming else "unary_"
        kind += "stream" if handler.response_streaming else "unary"
        return handler._replace(**{kind: self._counted(getattr(handler, kind))})

    def end_all(self) -> None:
        """End every stream that is open; its client sees CANCELLED."""
        with self._changing:
            contexts = list(self._contexts)
        for context in contexts:
            context.cancel()

    def _counted(self, behavior: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(behavior)  # with its attributes, by which a behavior asks for a thread pool of its own
        def call(request: Any, context: grpc.ServicerContext, *more: Any) -> Any:
            with self._changing:
                full = len(self._contexts) >= self._most
                if not full:
                    self._contexts.add(context)
            if full:
                context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{self._most} streams are open already")
            if not context.add_callback(lambda: self._forget(context)):
                self._forget(context)
            return behavior(request, context, *more)

        return call

    def _forget(self, context: grpc.ServicerContext) -> None:
        with self._changing:
            self._contexts.discard(context)
