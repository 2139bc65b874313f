"""What is there only where the suites run on engines."""

from tests.support.engines import CONSUL_URL

collect_ignore = [] if CONSUL_URL else ["test_cluster.py"]
