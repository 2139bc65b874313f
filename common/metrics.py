"""What a service counts, for Prometheus to fetch.

Nothing is served unless `…_METRICS_LISTEN` names an address; counting costs about a microsecond either way.
"""

from typing import Final

from prometheus_client import Counter, Histogram, start_http_server

from common.addresses import split_address

LOCK_WAIT: Final = Histogram(
    "reback_lock_wait_seconds",
    "How long it took to acquire a lock.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
LOCK_LOST: Final = Counter("reback_lock_lost", "Locks that were lost, or may have been, while they were held.")
LOCK_OUTAGES: Final = Counter("reback_lock_outages", "How often the lock's engine went out of reach.")
CACHE_OUTAGES: Final = Counter(
    "reback_cache_outages", "How often the cache's engine went out of reach, of reads and of changes."
)
CACHE_UNTOLD: Final = Counter(
    "reback_cache_untold",
    "Batches of changes that the cache could not be told: others may read older values for a while.",
)
DATABASE_REPEATS: Final = Counter(
    "reback_database_repeats", "Transactions that were tried again: others were in the way, or the connection was lost."
)


class MetricsServer:
    """Serves `http://host:port/metrics`.

    Args:
        listen: `host:port`; port 0 takes a free one.

    Attributes:
        address: `host:port` with the port that it got.

    Raises:
        OSError: It can't listen there.
    """

    def __init__(self, listen: str) -> None:
        host, port = split_address(listen)
        self._server, self._thread = start_http_server(port, addr=host.strip("[]"))
        self.address = f"{host}:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
