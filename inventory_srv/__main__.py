"""`python -m inventory_srv`: starts the service, says when it serves, and ends in order at SIGTERM or Ctrl-C."""

from common.process.stop_signal import StopSignal, end_quietly_on_ctrl_c

if __name__ == "__main__":
    end_quietly_on_ctrl_c()  # while the rest is imported

from typing import Final

from common.process.command_line import refuse_arguments
from common.process.cpu_affinity import set_cpu_affinity
from common.process.logs import set_up_logs
from common.process.serve import serve
from common.process.settings import load_settings
from inventory_srv.bootstrap import build
from inventory_srv.settings import InventorySettings

_ABOUT: Final = "Owns the stock: sells it to orders, gives it back, and keeps a ledger of every unit."


def main() -> None:
    refuse_arguments("python -m inventory_srv", _ABOUT, InventorySettings)
    settings = load_settings(InventorySettings)
    set_up_logs("inventory", settings.log_level, settings.log_format)
    set_cpu_affinity(settings.cpu, settings.listen)
    stop_signal = StopSignal()
    serve("inventory_srv", "INVENTORY_LISTEN", build(settings), stop_signal, settings.metrics_listen)


if __name__ == "__main__":
    main()
