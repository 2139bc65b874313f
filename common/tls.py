"""The files of a TLS client, checked when a URL names them."""

import ssl

from pydantic import SecretStr


def check_tls_files(
    ca: str | None,
    cert: str | None,
    key: str | None,
    password: SecretStr | None = None,
    *,
    may_be_encrypted: bool = False,
) -> None:
    """Check that the files of `tls_ca`, `tls_cert` and `tls_key` can be used.

    Args:
        ca: Certificates of the authorities to trust; None: those of this machine.
        cert: The client's certificate; None: it shows none.
        key: Its key; None: `cert` holds it too.
        password: Of an encrypted key.
        may_be_encrypted: Whether the URL takes such a password.

    Raises:
        ValueError: One can't; the text names its parameter and the rule.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca:
        try:
            context.load_verify_locations(ca)
        except (OSError, ValueError):
            raise ValueError("tls_ca must be a file of certificates in PEM format") from None
    if cert:
        try:  # without any password OpenSSL would ask the terminal for one
            context.load_cert_chain(cert, key, password.get_secret_value() if password else "")
        except (OSError, ValueError):
            encrypted = "unencrypted or with its tls_key_password" if may_be_encrypted else "unencrypted"
            raise ValueError(
                f"tls_cert and tls_key must be a certificate and its own key in PEM format, the key {encrypted}"
            ) from None
