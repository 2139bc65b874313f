"""Free ports for servers that a test starts."""

import socket

_LARGEST = 65_535


def free_port(largest: int = _LARGEST) -> int:
    """A port that nobody listens on now.

    Args:
        largest: A member of a Redis Cluster also listens on its port + 10,000.
    """
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= largest:
            return port
