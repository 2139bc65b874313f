"""A RocketMQ of a test's own: a name server, and a broker with its proxy, which can be killed and come back."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import Final

from scripts.cluster.install.engine_cache import of_java, rocketmq_folder
from tests.support.ports import free_port
from tests.support.rocketmq_topics import Topics
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

START_TIMEOUT_S: Final = 180.0

_JAVA_OPTIONS: Final = (
    *("-Xms128m", "-Xmx320m", "-XX:MaxDirectMemorySize=512m", "-XX:TieredStopAtLevel=1"),
    *("-XX:+UseSerialGC", "-XX:-UsePerfData"),
)
_BROKER: Final = {
    "brokerClusterName": "DefaultCluster",
    "brokerName": "broker-a",
    "brokerId": "0",
    "brokerIP1": "127.0.0.1",
    "mappedFileSizeCommitLog": str(16 * 1024 * 1024),
    "flushDiskType": "SYNC_FLUSH",
    "autoCreateTopicEnable": "false",
    "transactionTimeOut": "2000",
    "transactionCheckInterval": "2000",
    "transactionCheckMax": "100000",
    # As the local cluster's: a busy machine, or a disk that is rather full, is no reason to refuse messages.
    "waitTimeMillsInSendQueue": "5000",
    "osPageCacheBusyTimeOutMills": "10000",
    "diskMaxUsedSpaceRatio": "95",
    "diskSpaceCleanForciblyRatio": "96",
    "diskSpaceWarningLevelRatio": "98",
}


class RocketmqServer(ServerProcess):
    """One name server, and one broker with its proxy in one process, as the local cluster has them.

    The process that is killed and paused is the broker's; the name server runs until `close`.

    Args:
        folder: Where its files are.
        broker: More lines of the broker's configuration.

    Attributes:
        nameserver: `host:port`.
        topics: To make topics.
    """

    def __init__(self, folder: Path, broker: dict[str, str] | None = None) -> None:
        super().__init__(folder / "rocketmq")
        self.nameserver = f"127.0.0.1:{free_port()}"
        self._proxy = free_port()
        self._nameserver = _NameServer(folder / "rocketmq-nameserver")
        self.topics = Topics(self.nameserver)
        self._write_configuration(broker or {})

    @property
    def url(self) -> str:
        return f"rocketmq://127.0.0.1:{self._proxy}?nameserver={self.nameserver}"

    def start(self) -> None:
        """Start what does not run, and wait until it serves."""
        self._nameserver.start(self.folder / "namesrv.conf")
        proxy = ("-pm", "local", "-n", self.nameserver, "-bc", "broker.conf", "-pc", "proxy.json")
        self._run(_java(self.folder, "proxy.ProxyStartup", *proxy))
        wait_until(self.serves, f"RocketMQ serves; its logs are in {self.folder}", START_TIMEOUT_S)

    def serves(self) -> bool:
        """Whether the broker has registered with the name server, and the proxy listens."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._proxy), 1):
            return self.topics.has("SELF_TEST_TOPIC")
        return False

    def close(self) -> None:
        super().close()
        self._nameserver.close()

    def _write_configuration(self, broker: dict[str, str]) -> None:
        store = {"storePathRootDir": f"{self.folder}/store", "storePathCommitLog": f"{self.folder}/store/commitlog"}
        own = {"listenPort": str(_broker_port()), "namesrvAddr": self.nameserver, **store}
        _write(self.folder / "broker.conf", {**_BROKER, **own, **broker})
        listen = self.nameserver.rpartition(":")[2]
        _write(self.folder / "namesrv.conf", {"listenPort": listen, "bindAddress": "127.0.0.1"})
        proxy = {
            "rocketMQClusterName": "DefaultCluster",
            "namesrvAddr": self.nameserver,
            "grpcServerPort": self._proxy,
            "remotingListenPort": free_port(),
        }
        (self.folder / "proxy.json").write_text(json.dumps(proxy), encoding="utf-8")


class _NameServer(ServerProcess):
    def start(self, configuration: Path) -> None:
        if self._process is None:
            self._run(_java(self.folder, "namesrv.NamesrvStartup", "-c", str(configuration)))


def _java(folder: Path, program: str, *arguments: str) -> list[str]:
    """The command that runs one of RocketMQ's programs with `folder` for its home."""
    java = of_java("java")
    assert java is not None, "Java is not installed"
    assert rocketmq_folder().is_dir(), f"RocketMQ is not in {rocketmq_folder()}"
    jars, homes = f"{rocketmq_folder()}/*", (f"-Duser.home={folder}", f"-Drocketmq.home.dir={folder}")
    return [java, *_JAVA_OPTIONS, *homes, "-cp", jars, f"org.apache.rocketmq.{program}", *arguments]


@contextmanager
def rocketmq_server(folder: Path, broker: dict[str, str] | None = None) -> Iterator[RocketmqServer]:
    """A started cluster, killed at the end."""
    server = RocketmqServer(folder, broker)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _write(file: Path, values: dict[str, str]) -> None:
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()), encoding="utf-8")


def _broker_port() -> int:
    """A port which is free with its neighbours: a broker also listens two below it and one above."""
    chance = Random()
    while True:
        port = chance.randrange(20_000, 32_000)
        with suppress(OSError):
            for near in (port - 2, port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", near))
            return port
