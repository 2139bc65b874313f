"""What the URL of a MySQL or MariaDB database says: `mysql://user:password@host:3306/name`."""

import ssl
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, SecretStr, model_validator

from common.database.port import DatabaseUrl
from common.driver_url import Part, UrlParts, address_of, decoded, user_and_password
from common.text_rules import ExistingFile, OneOf, WholeSeconds
from common.tls import check_tls_files

_PORT: Final = 3306
_LONGEST_NAME: Final = 64
_SECONDS: Final = WholeSeconds(1, 3600)


class MysqlUrl(DatabaseUrl):
    """Where a database is, and how to reach it.

    Attributes:
        host, port, user, password, name: Where the database is, who calls, and what it is called; an IPv6 host has no
            brackets.
    """

    form: ClassVar[str] = "mysql://user:password@host:3306/name"
    reads: ClassVar[frozenset[Part]] = frozenset(Part)

    host: str
    port: int
    user: str
    password: SecretStr = SecretStr("")
    name: str
    connect_timeout: Annotated[int, _SECONDS] = Field(3, description="to reach the server and to log in")
    read_timeout: Annotated[int, _SECONDS] = Field(
        10, description="how long the server may be silent within a statement"
    )
    write_timeout: Annotated[int, _SECONDS] = Field(10, description="how long sending a statement may stall")
    idle_transaction: Annotated[int, _SECONDS] = Field(
        10,
        description="how long the server leaves a transaction open whose client does nothing: a client that was "
        "stopped, or whose machine is gone, holds no rows for longer",
    )
    tls: Annotated[str, OneOf("off", "required", "verify")] = Field(
        "off",
        description="`required`: encrypted, whoever answers; `verify`: encrypted, and the server's certificate is good "
        "for its host",
    )
    tls_ca: Annotated[str | None, ExistingFile()] = Field(
        None, description="certificates of the authorities that `verify` trusts; by default, those of this machine"
    )
    tls_cert: Annotated[str | None, ExistingFile()] = Field(None, description="certificate of this client")
    tls_key: Annotated[str | None, ExistingFile()] = Field(
        None, description="key of this client; by default, it stands in `tls_cert`"
    )

    @property
    def database_name(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        host, port = address_of(parts, _PORT)
        who = user_and_password(parts)
        if "user" not in who:
            raise ValueError("names no user")
        name = decoded("path", parts.path[1:])
        if not name or "/" in name or len(name) > _LONGEST_NAME:
            raise ValueError(f"names no database of up to {_LONGEST_NAME} characters after the host")
        return {"host": host.strip("[]"), "port": port, "name": name, **who}

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if self.tls == "off" and (self.tls_ca or self.tls_cert or self.tls_key):
            raise ValueError("tls_ca, tls_cert and tls_key need tls=verify or tls=required")
        if self.tls == "required" and self.tls_ca:
            raise ValueError("tls=required checks no certificate; tls_ca needs tls=verify")
        if self.tls_key and not self.tls_cert:
            raise ValueError("tls_key needs tls_cert")
        check_tls_files(self.tls_ca, self.tls_cert, self.tls_key)
        return self

    def tls_context(self) -> ssl.SSLContext | None:
        """What to encrypt with; None: nothing is.

        Raises:
            OSError: A file has changed since the URL was read, and can't be used any more.
        """
        if self.tls == "off":
            return None
        context = ssl.create_default_context(cafile=self.tls_ca)
        if self.tls == "required":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.tls_cert:
            context.load_cert_chain(self.tls_cert, self.tls_key)
        return context
