"""The TLS files of every URL: one that can't be used is named when the URL is read."""

from pathlib import Path

import pytest

from common.database.drivers import DATABASES
from common.discovery.drivers import REGISTRIES
from common.driver_table import Drivers
from common.lock.drivers import LOCKS
from common.process.settings import load_settings
from order_srv.settings import OrderSettings
from tests.support.certificates import Authority

URLS = [
    pytest.param(DATABASES, "mysql://app@db/order?tls=verify", id="mysql"),
    pytest.param(LOCKS, "rediss://h?prefix=a:", id="redis"),
    pytest.param(REGISTRIES, "consul+https://h?dc=eu", id="consul"),
]
PAIR = "tls_cert and tls_key must be a certificate and its own key in PEM format"


@pytest.mark.parametrize(("drivers", "url"), URLS)
def test_files_that_can_be_used_are_accepted(drivers: Drivers[object], url: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue()

    drivers.read(f"{url}&tls_ca={authority.certificate}&tls_cert={certificate}&tls_key={key}")


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff\x00", b"-----BEGIN CERTIFICATE-----\nAAAA\n"])
@pytest.mark.parametrize(("drivers", "url"), URLS)
def test_file_that_is_no_pem_is_refused(drivers: Drivers[object], url: str, content: bytes, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_bytes(content)
    certificate, _ = Authority(tmp_path).issue()

    with pytest.raises(ValueError, match=r"^tls_ca must be a file of certificates in PEM format$"):
        drivers.read(f"{url}&tls_ca={garbage}")
    for cert, key in ((garbage, garbage), (certificate, garbage)):
        with pytest.raises(ValueError, match=f"^{PAIR}, the key unencrypted"):
            drivers.read(f"{url}&tls_cert={cert}&tls_key={key}")


@pytest.mark.parametrize(("drivers", "url"), URLS)
def test_key_of_another_certificate_is_refused(drivers: Drivers[object], url: str, tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path, "one").issue()
    _, key = Authority(tmp_path, "another").issue()

    with pytest.raises(ValueError, match=PAIR):
        drivers.read(f"{url}&tls_cert={certificate}&tls_key={key}")


@pytest.mark.timeout(10)  # OpenSSL would ask the terminal for the password
@pytest.mark.parametrize(("drivers", "url"), URLS)
def test_encrypted_key_without_its_password_is_refused(drivers: Drivers[object], url: str, tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue(password=b"secret")

    with pytest.raises(ValueError, match=PAIR):
        drivers.read(f"{url}&tls_cert={certificate}&tls_key={key}")


def test_encrypted_key_needs_the_right_password(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue(password=b"secret")
    url = f"rediss://h?tls_cert={certificate}&tls_key={key}&tls_key_password="

    LOCKS.read(f"{url}secret")
    for wrong in ("other", "x" * 2000):
        with pytest.raises(ValueError, match=f"{PAIR}, the key unencrypted or with its tls_key_password$"):
            LOCKS.read(url + wrong)


def test_such_a_file_ends_the_program_with_one_line_and_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("garbage")
    monkeypatch.setenv("ORDER_DATABASE_URL", f"mysql://app:hunter2@db/order?tls=verify&tls_ca={garbage}")

    with pytest.raises(SystemExit) as end:
        load_settings(OrderSettings)

    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ORDER_DATABASE_URL='mysql://***@db/order?tls=verify&tls_ca=")
    assert line.endswith(": tls_ca must be a file of certificates in PEM format")
