"""`python -m inventory_srv`: starts the service, says when it serves, and ends in order at SIGTERM or Ctrl-C."""

import signal
import sys
import threading
from types import FrameType

from common.log import set_up_logs
from common.settings import load_settings
from inventory_srv.bootstrap import build
from inventory_srv.settings import InventorySettings


def main() -> None:
    settings = load_settings(InventorySettings)
    set_up_logs("inventory", settings.log_level, settings.log_format)
    asked_to_stop = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        asked_to_stop.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    service = build(settings)
    service.start()
    sys.stdout.write(f"inventory_srv ready on {service.address}\n")
    sys.stdout.flush()
    asked_to_stop.wait()
    service.stop()


if __name__ == "__main__":
    main()
