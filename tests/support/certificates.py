"""Certificates of a test's own authorities."""

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LOCAL: Final = "127.0.0.1"

_VALID: Final = timedelta(days=1)


class Authority:
    """Makes certificates that are trusted by who trusts `certificate`.

    Attributes:
        certificate: The file of its own.
    """

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = folder / f"{name}.crt"
        own = _unsigned(name, name, self._key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        self._write(own, self.certificate)

    def issue(self, address: str = LOCAL, *, password: bytes = b"") -> tuple[Path, Path]:
        """A certificate for an IP address and its key, in two files; a password encrypts the key."""
        key = ec.generate_private_key(ec.SECP256R1())
        wanted = _unsigned(address, self._name, key).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        certificate, key_file = (self._folder / f"{self._name}-{address}.{kind}" for kind in ("crt", "key"))
        self._write(wanted, certificate)
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        key_file.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        return certificate, key_file

    def _write(self, wanted: x509.CertificateBuilder, file: Path) -> None:
        file.write_bytes(wanted.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


def _unsigned(subject: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_named(subject))
        .issuer_name(_named(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID)
        .not_valid_after(now + _VALID)
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
