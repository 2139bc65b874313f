"""Redis: how it is set up, started and asked."""

from functools import partial
from pathlib import Path
from typing import Final

import redis
from redis.exceptions import RedisError

from scripts.cluster.install.engine_cache import program
from scripts.cluster.program import ENGINES, Program

NAME: Final = "redis"
_ASK_WITHIN_S: Final = 3

# It holds locks alone, which are worth nothing after a restart: nothing is written to disk.
# Its title would overwrite its environment, by which the cluster finds its processes.
_CONFIGURATION: Final = """\
bind 127.0.0.1
port {port}
dir "{folder}"
save ""
appendonly no
set-proc-title no
maxmemory 128mb
maxmemory-policy noeviction
"""


def redis_server(folder: Path, port: int) -> Program:
    """A server that keeps nothing on disk."""
    return Program(
        name=NAME,
        group=ENGINES,
        command=[program("redis-server"), str(folder / "redis.conf")],
        folder=folder,
        address=f"127.0.0.1:{port}",
        ports=[port],
        files={"redis.conf": _CONFIGURATION.format(folder=folder, port=port)},
        trouble=partial(trouble, port),
    )


def trouble(port: int) -> str:
    """Ping it."""
    try:
        with redis.Redis(port=port, socket_timeout=_ASK_WITHIN_S, socket_connect_timeout=_ASK_WITHIN_S) as client:
            client.ping()
    except (RedisError, OSError) as error:
        return str(error)
    return ""
