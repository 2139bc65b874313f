"""`python -m order_srv`: starts the service, says when it serves, and ends in order at SIGTERM or Ctrl-C."""

from common.process.cpu_affinity import keep_to_one_cpu
from common.process.logs import set_up_logs
from common.process.serve import serve
from common.process.settings import load_settings
from common.process.stop_signal import StopSignal
from order_srv.bootstrap import build
from order_srv.settings import OrderSettings


def main() -> None:
    settings = load_settings(OrderSettings)
    set_up_logs("order", settings.log_level, settings.log_format)
    keep_to_one_cpu(settings.cpu, settings.listen)
    stop_signal = StopSignal()
    serve("order_srv", "ORDER_LISTEN", build(settings), stop_signal, settings.metrics_listen)


if __name__ == "__main__":
    main()
