"""What a service counts, fetched as Prometheus does."""

import re
from pathlib import Path
from urllib.request import urlopen

import pytest

from scripts.lib.services import ServiceFailed
from tests.support.ports import free_port
from tests.support.service_process import process
from tests.support.services import inventory_settings, order_settings


def test_the_ready_line_tells_the_free_port_of_the_metrics(tmp_path: Path) -> None:
    with process(tmp_path, inventory_settings(tmp_path, metrics_listen="127.0.0.1:0")) as service:
        ready = rf"inventory_srv ready on {service.address}, metrics on (127\.0\.0\.1:\d+)$"
        told = re.search(ready, service.log.read_text(), re.MULTILINE)
        assert told
        with urlopen(f"http://{told[1]}/metrics", timeout=30) as answer:
            assert b"reback_lock_wait_seconds_count" in answer.read()


def test_a_service_serves_its_metrics_where_it_is_told(tmp_path: Path) -> None:
    listen = f"127.0.0.1:{free_port()}"
    with process(tmp_path, inventory_settings(tmp_path, metrics_listen=listen)):
        with urlopen(f"http://{listen}/metrics", timeout=30) as answer:
            text = answer.read().decode()
        for name in ("reback_lock_wait_seconds_count", "reback_lock_lost_total", "reback_lock_outages_total"):
            assert f"\n{name} 0.0\n" in text

        taken = order_settings(tmp_path, "127.0.0.1:1", metrics_listen=listen)
        said = rf"ORDER_METRICS_LISTEN='{listen}': can't listen on {listen}"
        with pytest.raises(ServiceFailed, match=said), process(tmp_path, taken):
            pytest.fail("it serves where another does")
