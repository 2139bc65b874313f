"""A stub of inventory that answers what the test says."""

from collections import defaultdict, deque
from typing import Any, cast

from google.protobuf.message import Message

from order_srv.adapters.stock_client import StockClient


class ScriptedInventory:
    """Gives each method's answers in turn, the last of them for ever.

    Attributes:
        calls: The method, the request and the timeout of each call.
    """

    def __init__(self, **answers: Any) -> None:
        self.calls: list[tuple[str, Any, float]] = []
        self._answers = defaultdict[str, deque[Any]](deque)
        for method, answer in answers.items():
            self.answer(method, answer)

    def answer(self, method: str, *answers: Any) -> None:
        """From now on `method` gives these: a message, an error to raise, or what is called with the request."""
        self._answers[method] = deque(answers)

    def client(self) -> StockClient:
        return StockClient(cast("Any", self))

    def asked(self, method: str) -> list[Any]:
        """The requests of this method."""
        return [request for name, request, _ in self.calls if name == method]

    def timeouts(self, method: str) -> list[float]:
        return [timeout for name, _, timeout in self.calls if name == method]

    def __getattr__(self, method: str) -> Any:
        def call(request: Message, timeout: float) -> Any:
            self.calls.append((method, request, timeout))
            answers = self._answers[method]
            answer = answers.popleft() if len(answers) > 1 else answers[0]
            if callable(answer):
                answer = answer(request)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call
