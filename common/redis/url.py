"""What the URL of a Redis says, whatever it is used for.

redis://[user:password@]host[:6379][/database]
rediss://…                                                         by TLS
redis+sentinel://[user:password@]host[:26379][,host…]/service[/database]
rediss+sentinel://…                                                Redis and its Sentinels by TLS
"""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import Field, SecretStr, model_validator

from common.driver_url import DriverUrl, Part, UrlParts, address_of, addresses_of, decoded, user_and_password
from common.plain_numbers import whole_number
from common.text_rules import ExistingFile, PlainText, Seconds, Secret, Switch
from common.tls import check_tls_files

_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379


class RedisUrl(DriverUrl):
    """Where a Redis is, and how to reach it.

    Attributes:
        hosts: Of the one Redis, or of all its Sentinels.
        service: How the Sentinels call the Redis; None: no Sentinels.
        database: Its number.
        user, password: Of Redis; None: none.
    """

    form: ClassVar[str] = (
        "redis://[user:password@]host:6379/0 or redis+sentinel://[user:password@]host:26379,host:26379/service/0 "
        "(rediss…: by TLS)"
    )
    reads: ClassVar[frozenset[Part]] = frozenset(Part)

    hosts: tuple[tuple[str, int], ...]
    service: str | None = None
    database: int = 0
    user: str | None = None
    password: SecretStr | None = None
    prefix: Annotated[str, PlainText()] = Field("", description="put before each key, one an environment")
    timeout: Annotated[timedelta, Seconds(0.05, 60)] = Field(
        timedelta(seconds=1), description="how long an answer may take"
    )
    connect_timeout: Annotated[timedelta, Seconds(0.05, 60)] = Field(
        timedelta(seconds=0.5), description="how long a connection may take"
    )
    sentinel_username: Annotated[str | None, PlainText()] = Field(None, description="user of the Sentinels")
    sentinel_password: Annotated[SecretStr | None, Secret()] = Field(None, description="password of the Sentinels")
    tls_ca: Annotated[str | None, ExistingFile()] = Field(
        None, description="certificates of the authorities to trust; by default, those of this machine"
    )
    tls_cert: Annotated[str | None, ExistingFile()] = Field(None, description="certificate of this client")
    tls_key: Annotated[str | None, ExistingFile()] = Field(None, description="key of this client")
    tls_key_password: Annotated[SecretStr | None, Secret()] = Field(None, description="password of that key")
    tls_check_hostname: Annotated[bool, Switch()] = Field(
        default=True, description="whether a certificate must name its host"
    )

    @property
    def tls(self) -> bool:
        """Whether to speak TLS."""
        return self.scheme.startswith("rediss")

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        unread = sorted(name for name in self.model_fields_set if name.startswith("tls_"))
        if unread and not self.tls:
            raise ValueError(f"{unread[0]} needs TLS: rediss:// or rediss+sentinel://")
        if self.tls_key and not self.tls_cert:
            raise ValueError("tls_key needs tls_cert")
        check_tls_files(self.tls_ca, self.tls_cert, self.tls_key, self.tls_key_password, may_be_encrypted=True)
        return self

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        sentinels = parts.scheme.endswith("+sentinel")
        hosts = addresses_of(parts, _SENTINEL_PORT) if sentinels else (address_of(parts, _REDIS_PORT),)
        return {
            "hosts": tuple((host.strip("[]"), port) for host, port in hosts),
            **user_and_password(parts),
            **_path(parts.path, sentinels=sentinels),
        }


def _path(path: str, *, sentinels: bool) -> dict[str, Any]:
    steps = path.strip("/").split("/") if path.strip("/") else []
    values: dict[str, Any] = {}
    if sentinels:
        if not steps:
            raise ValueError("names no service, such as redis+sentinel://host:26379/service")
        values["service"] = decoded("service", steps.pop(0))
    if len(steps) > 1:
        raise ValueError("its path must be a database's number alone, such as /0")
    if steps:
        try:
            values["database"] = whole_number(steps[0])
        except ValueError:
            raise ValueError("its database must be a number, such as /0") from None
    return values
