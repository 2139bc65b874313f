"""RocketMQ: name server, and broker with proxy, in a process each: how they are set up, started and asked."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import grpc
from rocketmq.grpc_protocol import definition_pb2, service_pb2, service_pb2_grpc

from common.messaging.port import MessagingError
from common.messaging.rocketmq.remoting import TopicMissing, queues
from scripts.cluster.install.engine_cache import launcher_folder, of_java, rocketmq_folder
from scripts.cluster.ports import Ports
from scripts.cluster.program import ENGINES, CannotRun, Program

NAMESERVER: Final = "rocketmq-nameserver"
BROKER: Final = "rocketmq-broker"
_CLUSTER: Final = "DefaultCluster"
_ASK_WITHIN_S: Final = 3
_CLIENT_ID: Final = "cluster-health"
_ON_EVERY_BROKER: Final = "SELF_TEST_TOPIC"  # RocketMQ's own
_NOBODYS: Final = "is-anybody-there"  # a topic that there is not

_ON_LOOPBACK: Final = "OnLoopback"
_NAMESERVER_CLASS: Final = "org.apache.rocketmq.namesrv.NamesrvStartup"
_PROXY_CLASS: Final = "org.apache.rocketmq.proxy.ProxyStartup"

_SMALL: Final = ("-Xms64m", "-Xmx128m", "-XX:TieredStopAtLevel=1")
# Java's second compiler takes half of the broker's time in its first minutes, on a machine that has two CPUs for all.
# One thread collects: G1 took a whole core of two for most of a second now and then, while orders waited.
_BROKER_SIZE: Final = (
    "-Xms256m",
    "-Xmx512m",
    "-XX:MaxDirectMemorySize=512m",
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
)

# What is said here differs from the broker's defaults, and why:
# - SYNC_FLUSH: what was acknowledged survives a power cut, as the order database does.
# - topics are made by hand, so that a slip in a name is an error.
# - check-backs begin after 3 s, in rounds of 2 s: 30 s, the default, is also how long it takes after a restart until
#   the first round. Rounds count even while nobody can answer: enough of them for a day.
# - resolutions are noted before check-backs begin; by default it takes 3 s, and most half messages get a useless one.
# - each flush of the delays' wheel compares its 39 MB byte by byte, by default each second: 24 % of a CPU.
#   What was not flushed when the broker is killed is read again, and delivered again at worst.
# - a small machine may be slow for a moment, and a developer's disk rather full: no reason to refuse messages.
# - small files; a broker that registers often is found soon after the name server was restarted.
_BROKER_CONFIGURATION: Final = """\
brokerClusterName = {cluster}
brokerName = broker-a
brokerId = 0
brokerIP1 = 127.0.0.1
bindAddress = 127.0.0.1
listenPort = {ports.broker}
haListenPort = {ports.broker_ha}
namesrvAddr = 127.0.0.1:{ports.nameserver}
storePathRootDir = {folder}/store
storePathCommitLog = {folder}/store/commitlog
flushDiskType = SYNC_FLUSH
autoCreateTopicEnable = false
transactionTimeOut = 3000
transactionCheckInterval = 2000
transactionCheckMax = 43200
transactionOpBatchInterval = 300
timerFlushIntervalMs = 60000
waitTimeMillsInSendQueue = 5000
osPageCacheBusyTimeOutMills = 10000
diskMaxUsedSpaceRatio = 95
diskSpaceCleanForciblyRatio = 96
diskSpaceWarningLevelRatio = 98
mappedFileSizeCommitLog = 67108864
mappedFileSizeTimerLog = 16777216
registerNameServerPeriod = 10000
"""

_NAMESERVER_CONFIGURATION: Final = """\
listenPort = {ports.nameserver}
bindAddress = 127.0.0.1
"""


def nameserver(folder: Path, ports: Ports) -> Program:
    """The name server, which knows where the broker is."""
    return Program(
        name=NAMESERVER,
        group=ENGINES,
        command=_java(folder, _SMALL, _NAMESERVER_CLASS, "-c", f"{folder}/nameserver.conf"),
        folder=folder,
        address=f"127.0.0.1:{ports.nameserver}",
        ports=[ports.nameserver],
        files={"nameserver.conf": _NAMESERVER_CONFIGURATION.format(ports=ports)},
        trouble=partial(nameserver_trouble, ports.nameserver),
    )


def broker(folder: Path, ports: Ports, more: Mapping[str, str]) -> Program:
    """Broker and gRPC proxy in one process.

    Args:
        folder: Its own.
        ports: Of the cluster.
        more: Settings of the broker, over those above.
    """
    proxy = {
        "rocketMQClusterName": _CLUSTER,
        "namesrvAddr": f"127.0.0.1:{ports.nameserver}",
        "grpcServerPort": ports.proxy,
        "remotingListenPort": ports.proxy_remoting,
        # That a topic is not there, or that the broker is not, is remembered for 20 s otherwise.
        "topicRouteServiceCacheRefreshSeconds": 1,
    }
    return Program(
        name=BROKER,
        group=ENGINES,
        command=_java(
            folder,
            _BROKER_SIZE,
            _PROXY_CLASS,
            *("-pm", "local", "-n", f"127.0.0.1:{ports.nameserver}"),
            *("-bc", f"{folder}/broker.conf", "-pc", f"{folder}/proxy.json"),
        ),
        folder=folder,
        address=f"127.0.0.1:{ports.proxy}",
        ports=[ports.proxy, ports.proxy_remoting, ports.broker, ports.broker_fast, ports.broker_ha],
        files={
            "broker.conf": _BROKER_CONFIGURATION.format(cluster=_CLUSTER, ports=ports, folder=folder)
            + "".join(f"{name} = {value}\n" for name, value in more.items()),
            "proxy.json": json.dumps(proxy, indent=2) + "\n",
        },
        trouble=partial(broker_trouble, ports),
    )


def nameserver_trouble(port: int) -> str:
    """Ask the name server for a route, as clients do; that there is none is an answer too."""
    try:
        queues(f"127.0.0.1:{port}", _NOBODYS)
    except TopicMissing:
        return ""
    except MessagingError as error:
        return str(error)
    return ""


def broker_trouble(ports: Ports) -> str:
    """See that the name server knows the broker, and that the proxy answers for it."""
    try:
        queues(f"127.0.0.1:{ports.nameserver}", _ON_EVERY_BROKER)
    except TopicMissing:
        return "the name server does not know the broker yet"
    except MessagingError as error:
        return str(error)
    code = route(ports.proxy, _NOBODYS)
    if code in {definition_pb2.OK, definition_pb2.TOPIC_NOT_FOUND}:
        return ""
    return f"the proxy answers {code if isinstance(code, str) else definition_pb2.Code.Name(code)}"


def has_topic(nameserver_port: int, proxy_port: int, topic: str) -> bool:
    """Whether clients can use this topic now. The proxy is asked last: it remembers for a while that there was none."""
    try:
        queues(f"127.0.0.1:{nameserver_port}", topic)
    except TopicMissing:
        return False
    return bool(route(proxy_port, topic) == definition_pb2.OK)


def route(port: int, topic: str) -> "int | str":
    """The code of the proxy's answer to the question for a topic's route; a text when there is no answer."""
    request = service_pb2.QueryRouteRequest(
        topic=definition_pb2.Resource(name=topic),
        endpoints=definition_pb2.Endpoints(
            scheme=definition_pb2.IPv4, addresses=[definition_pb2.Address(host="127.0.0.1", port=port)]
        ),
    )
    headers = (("x-mq-client-id", _CLIENT_ID), ("x-mq-language", "PYTHON"), ("x-mq-protocol", "v2"))
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.MessagingServiceStub(channel)
        try:
            code: int = stub.QueryRoute(request, timeout=_ASK_WITHIN_S, metadata=headers).status.code
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return code


def _java(folder: Path, size: Sequence[str], main: str, *arguments: str) -> Sequence[str]:
    """A command that runs a class, and keeps it on the loopback address."""
    program = of_java("java")
    if program is None or not all(each.is_dir() for each in (rocketmq_folder(), launcher_folder())):
        raise CannotRun("RocketMQ or its Java is not installed: `make cluster-install` installs both")
    return [
        program,
        *size,
        "-Djava.net.preferIPv4Stack=true",
        "--add-opens",
        "java.base/java.net=ALL-UNNAMED",
        "-XX:-UsePerfData",  # which would write into the folder for temporary files
        f"-Duser.home={folder}",  # its logs go there
        f"-Drocketmq.home.dir={folder}",
        "-cp",
        f"{launcher_folder()}:{rocketmq_folder()}/*",
        _ON_LOOPBACK,
        main,
        *arguments,
    ]
