import re
import ssl

import pytest
from pydantic import SecretStr

from common.database.mysql.url import MysqlUrl

SECRET = "hunter2"
FILE = __file__


def test_a_url_names_host_port_user_password_and_database() -> None:
    url = MysqlUrl.parse("mysql://app:pass@db.example:3307/order")

    assert (url.host, url.port, url.user, url.name) == ("db.example", 3307, "app", "order")
    assert url.password == SecretStr("pass")


def test_port_and_password_may_be_missing() -> None:
    url = MysqlUrl.parse("mysql://app@127.0.0.1/order")

    assert (url.port, url.password, url.place) == (3306, SecretStr(""), "127.0.0.1:3306")


def test_special_characters_are_written_as_percents() -> None:
    url = MysqlUrl.parse("mysql://a%40b:p%2F%23%25%3A%C3%A4@[::1]:3306/my%20order")

    assert (url.user, url.password, url.host, url.name) == ("a@b", SecretStr("p/#%:ä"), "::1", "my order")


def test_parameters_follow_the_question_mark() -> None:
    url = MysqlUrl.parse("mysql://app@db/order?connect_timeout=1&read_timeout=20&write_timeout=5&idle_transaction=60")

    assert (url.connect_timeout, url.read_timeout, url.write_timeout, url.idle_transaction) == (1, 20, 5, 60)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"mysql://app:{SECRET}@/order", "its host must be host:port"),
        (f"mysql://:{SECRET}@db/order", "names no user"),
        (f"mysql://app:{SECRET}@db", "names no database"),
        (f"mysql://app:{SECRET}@db/", "names no database"),
        (f"mysql://app:{SECRET}@db/a/b", "names no database"),
        (f"mysql://app:{SECRET}@db/{'x' * 65}", "names no database"),
        (f"mysql://app:{SECRET}@db:0/order", "a port above 0"),
        (f"mysql://app:{SECRET}@db:70000/order", "its host must be host:port"),
        (f"mysql://app:{SECRET}@a,b/order", "its host must be one host:port"),
        (f"mysql://app:{SECRET}/x@db/order", "in a path, user, password or parameter write %40"),
        (f"mysql://app:{SECRET}#x@db/order", "has a #"),
        (f"mysql://app:{SECRET}@db/order#x", "has a #"),
        (f"mysql://app:{SECRET}%x@db/order", "its password has a % that begins no %40"),
        (f"mysql://app:{SECRET}%ff@db/order", "its password is not UTF-8"),
        (f"mysql://app:{SECRET}@db/order?tls", "not name=value"),
        (f"mysql://app:{SECRET}@db/order?charset=latin1", "no such parameter 'charset'; there are connect_timeout"),
        (f"mysql://app:{SECRET}@db/order?tls=off&tls=off", "tls is given twice"),
        (f"mysql://app:{SECRET}@db/order?read_timeout=0", "whole number of seconds from 1 to 3600"),
        (f"mysql://app:{SECRET}@db/order?read_timeout=1.5", "whole number of seconds from 1 to 3600"),
        (f"mysql://app:{SECRET}@db/order?read_timeout=²", "whole number of seconds from 1 to 3600"),
        (f"mysql://app:{SECRET}@db/order?tls=yes", "tls must be off, required or verify"),
        (f"mysql://app:{SECRET}@db/order?tls_ca={FILE}", "need tls=verify"),
        (f"mysql://app:{SECRET}@db/order?tls=required&tls_ca={FILE}", "checks no certificate"),
        (f"mysql://app:{SECRET}@db/order?tls=verify&tls_ca={FILE}", "tls_ca must be a file of certificates"),
        (f"mysql://app:{SECRET}@db/order?tls=verify&tls_key={FILE}", "tls_key needs tls_cert"),
        (f"mysql://app:{SECRET}@db/order?tls=verify&tls_ca=no.pem", "tls_ca must be the path of a file"),
    ],
)
def test_a_wrong_url_is_told_why_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)) as error:
        MysqlUrl.parse(url)

    assert SECRET not in str(error.value)


def test_the_password_is_not_in_what_is_printed_of_a_url() -> None:
    assert SECRET not in repr(MysqlUrl.parse(f"mysql://app:{SECRET}@db/order"))


@pytest.mark.parametrize(
    ("tls", "verified"), [("required", ssl.CERT_NONE), ("verify", ssl.CERT_REQUIRED)], ids=["required", "verify"]
)
def test_tls_is_encrypted_and_verify_checks_who_answers(tls: str, verified: ssl.VerifyMode) -> None:
    context = MysqlUrl.parse(f"mysql://app@db/order?tls={tls}").tls_context()

    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (verified, tls == "verify")


def test_without_tls_there_is_nothing_to_encrypt_with() -> None:
    assert MysqlUrl.parse("mysql://app@db/order").tls_context() is None
