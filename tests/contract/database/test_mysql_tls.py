"""Encrypted connections: whom they are made with, and who is refused; and ways to log in."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from common.database import Database, DatabaseUnavailable
from tests.certificates import LOCAL, Authority
from tests.databases import ask
from tests.mariadb_server import MariadbServer

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
        "--plugin-load-add=auth_ed25519",
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
        told = refusal(url_at(server, parameters))
        assert "no encrypted connection" in told
        assert "certificate verify failed" in told


def test_verify_refuses_a_certificate_for_another_host(server: MariadbServer, authority: Authority) -> None:
    told = refusal(url_at(server, f"tls=verify&tls_ca={authority.certificate}", host="localhost"))

    assert "no encrypted connection" in told
    assert "not valid for 'localhost'" in told


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


def test_a_kind_of_login_that_is_not_there_is_told_as_such(server: MariadbServer) -> None:
    user = user_who(server, "IDENTIFIED VIA ed25519 USING PASSWORD('secret')")

    told = refusal(url_at(server, "tls=off", user=user))

    assert "kind of login" in told
    assert "secret" not in told
