"""Encrypted connections: whom they are made with, and who is refused; and ways to log in."""

import shutil
import socketserver
import struct
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from common.database import Database, DatabaseUnavailable
from tests.support.certificates import LOCAL, Authority
from tests.support.databases import ask
from tests.support.mariadb_server import MariadbServer

pytestmark = pytest.mark.timeout(300)

NAME = "encrypted"


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="reback-"))  # short: a socket's path has a limit
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def authority(folder: Path) -> Authority:
    return Authority(folder)


@pytest.fixture(scope="module")
def server(folder: Path, authority: Authority) -> Iterator[MariadbServer]:
    """Shows a certificate of the authority, for 127.0.0.1."""
    certificate, key = authority.issue(LOCAL)
    made = MariadbServer(
        folder,
        f"--ssl-cert={certificate}",
        f"--ssl-key={key}",
        f"--ssl-ca={authority.certificate}",
    )
    try:
        made.start()
        ask(made.url, f"CREATE DATABASE {NAME}")
        yield made
    finally:
        made.kill()


def url_at(server: MariadbServer, parameters: str, *, host: str = LOCAL, user: str = "tester") -> str:
    return f"mysql://{user}:secret@{host}:{urlsplit(server.url).port}/{NAME}?{parameters}"


def user_who(server: MariadbServer, condition: str) -> str:
    """A new user; `condition` is what follows its name in CREATE USER."""
    name = f"u{uuid4().hex[:8]}"
    ask(server.url, f"CREATE USER {name}@'{LOCAL}' {condition}")
    ask(server.url, f"GRANT ALL ON {NAME}.* TO {name}@'{LOCAL}'")
    return name


def cipher(url: str) -> str:
    """What a connection is encrypted with; empty: nothing."""
    with closing(Database(url)) as database, database.reading():
        _, name = database.execute("SHOW STATUS LIKE 'Ssl_cipher'").fetchone()
        return str(name)


def refusal(url: str) -> str:
    with pytest.raises(DatabaseUnavailable) as refused:
        cipher(url)
    return str(refused.value)


def test_without_tls_nothing_is_encrypted(server: MariadbServer) -> None:
    assert cipher(url_at(server, "tls=off")) == ""


def test_required_is_encrypted_whoever_answers(server: MariadbServer) -> None:
    assert cipher(url_at(server, "tls=required"))
    assert cipher(url_at(server, "tls=required", host="localhost"))


def test_verify_is_encrypted_with_who_shows_a_certificate_of_the_authority(
    server: MariadbServer, authority: Authority
) -> None:
    assert cipher(url_at(server, f"tls=verify&tls_ca={authority.certificate}"))


def test_verify_refuses_a_certificate_of_another_authority(server: MariadbServer, tmp_path: Path) -> None:
    another = Authority(tmp_path, "another")
    for parameters in (f"tls=verify&tls_ca={another.certificate}", "tls=verify"):
        answer = refusal(url_at(server, parameters))
        assert "no encrypted connection" in answer
        assert "certificate verify failed" in answer


def test_verify_refuses_a_certificate_for_another_host(server: MariadbServer, authority: Authority) -> None:
    answer = refusal(url_at(server, f"tls=verify&tls_ca={authority.certificate}", host="localhost"))

    assert "no encrypted connection" in answer
    assert "not valid for 'localhost'" in answer


def test_a_user_who_has_to_be_encrypted_is_refused_without(server: MariadbServer) -> None:
    user = user_who(server, "IDENTIFIED BY 'secret' REQUIRE SSL")

    assert "refuses its user" in refusal(url_at(server, "tls=off", user=user))
    assert cipher(url_at(server, "tls=required", user=user))


def test_a_client_shows_its_own_certificate_to_who_asks_for_it(server: MariadbServer, authority: Authority) -> None:
    user = user_who(server, "IDENTIFIED BY 'secret' REQUIRE X509")
    certificate, key = authority.issue("127.0.0.2")
    verified = f"tls=verify&tls_ca={authority.certificate}"

    assert "refuses its user" in refusal(url_at(server, verified, user=user))
    assert cipher(url_at(server, f"{verified}&tls_cert={certificate}&tls_key={key}", user=user))


class AsksForAnotherLogin(socketserver.StreamRequestHandler):
    """A server that greets as MariaDB does, and then wants a login that no client has."""

    def handle(self) -> None:
        able = 0x0008_A208  # a database in the login, protocol 4.1, transactions, salted passwords, kinds of login
        self._say(
            0,
            b"\x0a" + b"10.11.0-MariaDB\0" + struct.pack("<I", 1) + b"12345678\0",
            struct.pack("<HBHHB", able & 0xFFFF, 45, 2, able >> 16, 21) + bytes(10),
            b"123456789012\0" + b"mysql_native_password\0",
        )
        self.request.recv(4096)
        self._say(2, b"\xfe" + b"of_another_world\0" + b"12345678901234567890\0")
        self.request.recv(4096)  # until the client has left

    def _say(self, number: int, *parts: bytes) -> None:
        packet = b"".join(parts)
        self.wfile.write(len(packet).to_bytes(3, "little") + bytes([number]) + packet)


def test_a_kind_of_login_that_is_not_there_is_told_as_such() -> None:
    with socketserver.ThreadingTCPServer((LOCAL, 0), AsksForAnotherLogin) as other, ThreadPoolExecutor(1) as pool:
        pool.submit(other.serve_forever, 0.01)
        try:
            answer = refusal(f"mysql://tester:secret@{LOCAL}:{other.server_address[1]}/{NAME}?tls=off")
        finally:
            other.shutdown()

    assert "needs a login method that is not installed" in answer
    assert "of_another_world" in answer
    assert "secret" not in answer
