"""What the URL of a Consul agent says.

consul://[token@]host[:8500]
consul+https://…                 by TLS
"""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, SecretStr, model_validator

from common.discovery.port import DiscoveryUrl
from common.driver_url import Part, UrlParts, address_of, decoded
from common.text_rules import ExistingFile, PlainText, Seconds, Secret
from common.tls import check_tls_files

_PORT: Final = 8500


class _Token(Secret):
    """What an HTTP header takes, which would quote any other in its error."""

    @property
    def allowed(self) -> str:
        return "a text of visible ASCII characters; no log shows it"

    def allows(self, value: Any) -> bool:
        return super().allows(value) and all("!" <= character <= "~" for character in value.get_secret_value())


class ConsulUrl(DiscoveryUrl):
    """Where a Consul agent is, and how it is used.

    Attributes:
        host, port: Of its HTTP interface; an IPv6 host has no brackets.
    """

    form: ClassVar[str] = "consul://[token@]host:8500 (consul+https: by TLS)"
    reads: ClassVar[frozenset[Part]] = frozenset({Part.USER, Part.ADDRESSES})

    host: str
    port: int = _PORT
    token: Annotated[SecretStr | None, _Token()] = Field(
        None, description="of its access control; it may stand before the host instead"
    )
    dc: Annotated[str | None, PlainText()] = Field(
        None, description="the datacenter in which others are looked for; by default, the agent's own"
    )
    interval: Annotated[timedelta, Seconds(0.1, 300)] = Field(
        timedelta(seconds=2), description="the pause between two health checks of an instance"
    )
    check_timeout: Annotated[timedelta, Seconds(0.1, 60)] = Field(
        timedelta(seconds=1), description="how long an instance may take to answer its health check"
    )
    # Consul takes less for a minute.
    deregister_after: Annotated[timedelta, Seconds(60, 30 * 86_400)] = Field(
        timedelta(minutes=1), description="for how long an instance may fail its check before Consul forgets it"
    )
    timeout: Annotated[timedelta, Seconds(0.1, 60)] = Field(
        timedelta(seconds=2), description="how long the agent may take to answer"
    )
    wait: Annotated[timedelta, Seconds(0.5, 600)] = Field(
        timedelta(seconds=5), description="how long the agent holds a request until something changes"
    )
    tls_ca: Annotated[str | None, ExistingFile()] = Field(
        None, description="certificates of the authorities to trust; by default, those of this machine"
    )
    tls_cert: Annotated[str | None, ExistingFile()] = Field(None, description="certificate of this client")
    tls_key: Annotated[str | None, ExistingFile()] = Field(None, description="key of this client")

    @property
    def tls(self) -> bool:
        """Whether to speak TLS."""
        return self.scheme == "consul+https"

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        host, port = address_of(parts, _PORT)
        values: dict[str, Any] = {"host": host.strip("[]"), "port": port}
        if parts.user_info is not None:  # an empty user with a password is a token too
            values["token"] = decoded("token", parts.user_info.removeprefix(":"))
        return values

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        unread = sorted(name for name in self.model_fields_set if name.startswith("tls_"))
        if unread and not self.tls:
            raise ValueError(f"{unread[0]} needs TLS: consul+https://")
        if bool(self.tls_cert) != bool(self.tls_key):
            raise ValueError("tls_cert and tls_key need each other")
        check_tls_files(self.tls_ca, self.tls_cert, self.tls_key)
        return self
