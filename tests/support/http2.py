"""A gRPC call written by hand over HTTP/2, for headers that gRPC's own client would never send."""

import socket
import struct
from collections.abc import Sequence
from contextlib import closing

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded, StreamReset, TrailersReceived

Headers = Sequence[tuple[bytes, bytes]]

_STREAM = 1
_TIMEOUT_S = 30.0


def raw_call(address: str, method: str, message: bytes, headers: Headers = ()) -> dict[bytes, bytes]:
    """Call `method` (`/package.Service/Method`) with these headers; what was answered, headers and trailers.

    Raises:
        ConnectionError: The server closed the connection or reset the stream.
    """
    host, _, port = address.rpartition(":")
    with closing(socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)) as connection:
        http2 = H2Connection(
            H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
                validate_inbound_headers=False,
            )
        )
        http2.initiate_connection()
        http2.send_headers(_STREAM, [*_usual(address, method), *headers])
        http2.send_data(_STREAM, b"\0" + struct.pack(">I", len(message)) + message, end_stream=True)
        return _answer(connection, http2)


def _usual(address: str, method: str) -> Headers:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", method.encode()),
        (b":authority", address.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ]


def _answer(connection: socket.socket, http2: H2Connection) -> dict[bytes, bytes]:
    answered: dict[bytes, bytes] = {}
    while True:
        connection.sendall(http2.data_to_send())
        received = connection.recv(65_536)
        if not received:
            raise ConnectionError("the server closed the connection")
        for event in http2.receive_data(received):
            if isinstance(event, ResponseReceived | TrailersReceived):
                answered.update(event.headers)
            elif isinstance(event, StreamReset):
                raise ConnectionError(f"the server reset the stream: {event.error_code}")
            elif isinstance(event, StreamEnded):
                return answered
