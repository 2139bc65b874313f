"""A whole cluster of a test's own: every engine can be killed, and none is shared with other tests."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from scripts.cluster.cluster import Cluster
from scripts.cluster.ports import Ports
from tests.support.replicas import Replicas, calling
from tests.support.services import Services
from tests.support.tables import problems_in_tables, tables_at

BROKER = "rocketmq-broker"
"""Broker and proxy: one process."""


@contextmanager
def own_cluster(folder: Path, settings: Mapping[str, str]) -> Iterator[tuple[Cluster, Services]]:
    """A running cluster with two replicas of each service, and calls that go to either; its books balance in the end.

    Args:
        folder: The test's.
        settings: Variables of the services, `ORDER_PAY_WITHIN`.
    """
    with Cluster(folder / "cluster", Ports.free(), settings=settings) as cluster:
        cluster.up()
        tables_at(folder, cluster.mysql_url)
        at = [[f"127.0.0.1:{port}" for port in ports] for ports in (cluster.ports.inventory, cluster.ports.order)]
        with calling(folder, *(Replicas.at(*addresses) for addresses in at)) as shop:
            yield cluster, shop
        assert not problems_in_tables(folder)
