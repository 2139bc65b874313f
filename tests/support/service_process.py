"""A service as a process, which a test can kill, stop and start again."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from common.driver_url import DriverUrl
from common.process.settings import ServiceSettings
from inventory_srv.settings import InventorySettings
from order_srv.settings import OrderSettings
from scripts.lib.services import Service
from tests.support import gathering
from tests.support.waiting import TIMEOUT_S


class Process(Service):
    """`python -m order_srv` or `python -m inventory_srv`, in a folder, with settings.

    Args:
        gather: How many creates, cancels and refunds the order service's first groups have; 0: as many as come.
    """

    def __init__(self, folder: Path, settings: OrderSettings | InventorySettings, *, gather: int = 0) -> None:
        name = "order_srv" if isinstance(settings, OrderSettings) else "inventory_srv"
        module = "tests.support.gathering" if gather else name
        variables = {**_variables(settings), gathering.VARIABLE: str(gather)}
        super().__init__(module, folder, folder / f"{name}.log", variables, title=name)

    def wait_until_killed(self) -> None:
        """Wait until it has died by SIGKILL, which it sends itself at its crash point."""
        code = self._started().wait(TIMEOUT_S)
        assert code == -signal.SIGKILL, f"it ended with {code}:\n{self.log.read_text()}"

    def start_at(self, address: str) -> None:
        """Start it, listening on `address`."""
        prefix = self._title.removesuffix("_srv").upper()
        self._settings[f"{prefix}_LISTEN"] = address
        self.start()

    def terminate(self) -> None:
        """Ask it to stop, and do not wait."""
        self._started().send_signal(signal.SIGTERM)

    def send(self, number: signal.Signals) -> None:
        self._started().send_signal(number)


@contextmanager
def process(folder: Path, settings: OrderSettings | InventorySettings, *, gather: int = 0) -> Iterator[Process]:
    """A started service process, which is killed at the end if it still runs."""
    started = Process(folder, settings, gather=gather)
    try:
        started.start()
        yield started
    finally:
        started.kill()


def _variables(settings: ServiceSettings) -> dict[str, str]:
    prefix = str(settings.model_config["env_prefix"])
    return {f"{prefix}{name.upper()}": _text(value) for name, value in settings}


def _text(value: object) -> str:
    match value:
        case timedelta():
            return str(value.total_seconds())
        case DriverUrl():
            return value.reveal()
        case bool():
            return "on" if value else "off"
        case None:
            return ""
    return str(value)
