"""What is read of RocketMQ's own protocol, and what of a server that speaks another one, or none."""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from threading import Thread

import pytest

from common.messaging.port import BrokerUnavailable, MessagingError
from common.messaging.rocketmq.remoting import (
    Queue,
    StoredMessage,
    TopicMissing,
    broker_settings,
    brokers_of,
    connected,
    make_topic,
    queues,
    read_queue,
)
from tests.support.ports import free_port


@contextmanager
def answering(*answers: bytes) -> Iterator[str]:
    """A server that gives these answers to one who calls, and hangs up; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            caller, _ = listening.accept()
            with caller:
                for answer in answers:
                    caller.recv(1 << 16)
                    caller.sendall(answer)

        server = Thread(target=serve)
        server.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.join()


def frame(code: int, body: bytes = b"", remark: str = "", **fields: object) -> bytes:
    header = json.dumps({"code": code, "remark": remark, "extFields": fields}).encode()
    return struct.pack(">ii", 4 + len(header) + len(body), len(header)) + header + body


def record(offset: int, body: bytes, properties: str, *, ipv6: bool = False, long_topic: bool = False) -> bytes:
    """A message as a broker's log has it."""
    host = b"h" * 16 if ipv6 else b"host"
    port = b"port"
    topic = b"orders"
    parts = [
        struct.pack(">i", -626843477 if long_topic else -626843481),
        struct.pack(">iii", 0, 0, 0),  # checksum, queue, flag
        struct.pack(">qqi", offset, 0, 0x30 if ipv6 else 0),
        struct.pack(">q", 0) + host + port,  # born
        struct.pack(">q", 1_700_000_000_500) + host + port,  # stored
        struct.pack(">iq", 0, 0),
        struct.pack(">i", len(body)) + body,
        struct.pack(">h" if long_topic else ">b", len(topic)) + topic,
        struct.pack(">h", len(properties.encode())) + properties.encode(),
    ]
    rest = b"".join(parts)
    return struct.pack(">i", 4 + len(rest)) + rest


def test_queues_are_those_of_every_broker_that_is_up() -> None:
    route = {
        "brokerDatas": [
            {"brokerName": "a", "brokerAddrs": {"0": "10.0.0.1:10911", "1": "10.0.0.2:10911"}},
            {"brokerName": "b", "brokerAddrs": {"1": "10.0.0.3:10911"}},
        ],
        "queueDatas": [{"brokerName": "a", "readQueueNums": 2}, {"brokerName": "b", "readQueueNums": 2}],
    }
    with answering(frame(0, json.dumps(route).encode())) as server:
        assert queues(server, "orders") == [Queue("10.0.0.1:10911", 0), Queue("10.0.0.1:10911", 1)]


def test_brokers_of_a_cluster_are_those_of_the_topic_that_every_one_has() -> None:
    datas = [{"brokerName": name, "brokerAddrs": {"0": f"{name}:10911"}} for name in "ba"]
    route = {"brokerDatas": datas, "queueDatas": [{"brokerName": name, "readQueueNums": 2} for name in "ba"]}
    with answering(frame(0, json.dumps(route).encode())) as server:
        assert brokers_of(server) == ["a:10911", "b:10911"]


def test_a_topic_that_is_not_there() -> None:
    with answering(frame(17)) as server, pytest.raises(TopicMissing, match="orders"):
        queues(server, "orders")


def test_a_refusal_is_an_error_with_its_reason() -> None:
    with answering(frame(1, remark="not for you")) as server, pytest.raises(MessagingError, match="not for you"):
        queues(server, "orders")


def test_a_queue_is_read_page_by_page_from_its_first_message() -> None:
    first = record(7, b"one", "KEYS\x01order-1\x02more\x01a=b\x02")
    second = record(8, b"", "", ipv6=True) + record(9, b"\x00two", "KEYS\x01ключ", long_topic=True)
    answers = [frame(0, offset="7"), frame(0, first, nextBeginOffset="8"), frame(0, second, nextBeginOffset="10")]
    with answering(*answers, frame(19)) as server, connected(server) as broker:
        stored = list(read_queue(broker, "orders", 0))

    at = datetime.fromtimestamp(1_700_000_000.5, UTC)
    assert stored == [
        StoredMessage(7, b"one", {"KEYS": "order-1", "more": "a=b"}, at),
        StoredMessage(8, b"", {}, at),
        StoredMessage(9, b"\x00two", {"KEYS": "ключ"}, at),
    ]


def test_settings_of_a_broker_are_read_by_name() -> None:
    body = "brokerName=broker-a\nflushDiskType=SYNC_FLUSH\r\nnamesrvAddr=a:1;b:2\nproperties=x=y\nhaMasterAddress=\n\n"
    with answering(frame(0, body.encode())) as server:
        assert broker_settings(server) == {
            "brokerName": "broker-a",
            "flushDiskType": "SYNC_FLUSH",
            "namesrvAddr": "a:1;b:2",
            "properties": "x=y",
        }


def test_settings_that_are_refused_or_can_not_be_read_are_an_error() -> None:
    with answering(frame(1, remark="no permission")) as server, pytest.raises(MessagingError, match="no permission"):
        broker_settings(server)
    with answering(frame(0, b"\xff")) as server, pytest.raises(MessagingError, match="can't be read"):
        broker_settings(server)


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00" * 8, struct.pack(">ii", 8, 4) + b"{{{{"]
)
def test_a_server_that_speaks_otherwise_counts_as_out_of_reach(answer: bytes) -> None:
    with answering(answer) as server, pytest.raises(BrokerUnavailable, match=server):
        queues(server, "orders")


@pytest.mark.parametrize("header", [b"[]", b"{}", b"3", b"{", b'{"code": 0, "extFields": 3}'])
def test_a_header_of_another_form_counts_as_out_of_reach(header: bytes) -> None:
    answer = struct.pack(">ii", 4 + len(header), len(header)) + header
    with answering(answer) as server, pytest.raises(BrokerUnavailable, match=server):
        queues(server, "orders")


@pytest.mark.parametrize(
    "body",
    [
        b"{1: 2}",
        b"\xff",
        b"",
        b"[]",
        b"{}",
        b'{"brokerDatas": 3, "queueDatas": []}',
        b'{"brokerDatas": [{"brokerName": "a", "brokerAddrs": []}], "queueDatas": []}',
        b'{"brokerDatas": [], "queueDatas": [{"brokerName": []}]}',
        b"[" * 100_000,
    ],
)
def test_a_route_of_another_form_is_the_ports_error(body: bytes) -> None:
    with (
        answering(frame(0, body)) as server,
        pytest.raises(MessagingError, match=f"name server {server}: its answer can't be read"),
    ):
        queues(server, "orders")


@pytest.mark.parametrize(
    "answers",
    [
        [frame(0, offset="x")],
        [frame(0, offset="7"), frame(0)],
        [frame(0, offset="7"), frame(0, b"short", nextBeginOffset="8")],
        [frame(0, offset="7"), frame(0, struct.pack(">i", 0) * 40, nextBeginOffset="8")],
        [frame(0, offset="7"), frame(0, b"", nextBeginOffset="x")],
    ],
)
def test_a_page_of_another_form_is_the_ports_error(answers: list[bytes]) -> None:
    with (
        answering(*answers) as server,
        connected(server) as broker,
        pytest.raises(MessagingError, match=f"broker {server}: its answer can't be read"),
    ):
        list(read_queue(broker, "orders", 0))


def test_nobody_there_counts_as_out_of_reach() -> None:
    with pytest.raises(BrokerUnavailable, match="can't reach"):
        make_topic(f"127.0.0.1:{free_port()}", "orders", "NORMAL", 1)


def test_an_ipv6_address_is_reached_without_its_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[object] = []
    ours, theirs = socket.socketpair()

    def connect(address: object, _timeout: float) -> socket.socket:
        called.append(address)
        return ours

    monkeypatch.setattr(socket, "create_connection", connect)

    with theirs, connected("[::1]:9876"):
        assert called == [("::1", 9876)]


def test_an_address_that_is_none_can_not_be_reached() -> None:
    with pytest.raises(BrokerUnavailable, match="can't reach no address"), connected("no address"):
        raise AssertionError
