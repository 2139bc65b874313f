import ssl

import pytest

from common.database.mysql.url import MysqlUrl, parse_mysql_url

SECRET = "hunter2"


def test_a_url_names_host_port_user_password_and_database() -> None:
    assert parse_mysql_url("mysql://app:pass@db.example:3307/order") == MysqlUrl(
        host="db.example", port=3307, user="app", password="pass", name="order"
    )


def test_port_and_password_may_be_left_out() -> None:
    url = parse_mysql_url("mysql://app@127.0.0.1/order")

    assert (url.port, url.password, url.place) == (3306, "", "127.0.0.1:3306")


def test_special_characters_are_written_as_percents() -> None:
    url = parse_mysql_url("mysql://a%40b:p%2F%23%25%3A%C3%A4@[::1]:3306/my%20order")

    assert (url.user, url.password, url.host, url.name) == ("a@b", "p/#%:ä", "::1", "my order")


def test_parameters_follow_the_question_mark() -> None:
    url = parse_mysql_url("mysql://app@db/order?connect_timeout=1&read_timeout=20&write_timeout=5&idle_transaction=60")

    assert (url.connect_timeout, url.read_timeout, url.write_timeout, url.idle_transaction) == (1, 20, 5, 60)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"mysql://app:{SECRET}@/order", "names no host"),
        (f"mysql://:{SECRET}@db/order", "names no user"),
        (f"mysql://app:{SECRET}@db", "names no database"),
        (f"mysql://app:{SECRET}@db/", "names no database"),
        (f"mysql://app:{SECRET}@db/a/b", "names no database"),
        (f"mysql://app:{SECRET}@db/{'x' * 65}", "names no database"),
        (f"mysql://app:{SECRET}@db:0/order", "port 0"),
        (f"mysql://app:{SECRET}@db:70000/order", "another shape"),
        (f"mysql://app:{SECRET}/x@db/order", "another shape"),
        (f"mysql://app:{SECRET}#x@db/order", "another shape"),
        (f"mysql://app:{SECRET}@db/order#x", "another shape"),
        (f"mysql://app:{SECRET}%x@db/order", "begins no %40"),
        (f"mysql://app:{SECRET}@db/order?tls", "no list"),
        (f"mysql://app:{SECRET}@db/order?charset=latin1", "unknown parameter 'charset'"),
        (f"mysql://app:{SECRET}@db/order?tls=off&tls=off", "twice"),
        (f"mysql://app:{SECRET}@db/order?read_timeout=0", "from 1 to 3600"),
        (f"mysql://app:{SECRET}@db/order?read_timeout=1.5", "from 1 to 3600"),
        (f"mysql://app:{SECRET}@db/order?read_timeout=²", "from 1 to 3600"),
        (f"mysql://app:{SECRET}@db/order?tls=yes", "tls=yes is wrong"),
        (f"mysql://app:{SECRET}@db/order?tls_ca=ca.pem", "need tls=verify"),
        (f"mysql://app:{SECRET}@db/order?tls=required&tls_ca=ca.pem", "checks no certificate"),
        (f"mysql://app:{SECRET}@db/order?tls=verify&tls_key=key.pem", "needs tls_cert"),
    ],
)
def test_a_wrong_url_is_told_why_without_its_password(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as error:
        parse_mysql_url(url)

    assert SECRET not in str(error.value)


def test_the_password_is_not_in_what_is_printed_of_a_url() -> None:
    assert SECRET not in repr(parse_mysql_url(f"mysql://app:{SECRET}@db/order"))


@pytest.mark.parametrize(
    ("tls", "verified"), [("required", ssl.CERT_NONE), ("verify", ssl.CERT_REQUIRED)], ids=["required", "verify"]
)
def test_tls_is_encrypted_and_verify_checks_who_answers(tls: str, verified: ssl.VerifyMode) -> None:
    context = parse_mysql_url(f"mysql://app@db/order?tls={tls}").tls_context()

    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (verified, tls == "verify")


def test_without_tls_there_is_nothing_to_encrypt_with() -> None:
    assert parse_mysql_url("mysql://app@db/order").tls_context() is None


def test_a_file_of_tls_that_is_not_there_is_told() -> None:
    with pytest.raises(OSError, match="No such file"):
        parse_mysql_url("mysql://app@db/order?tls=verify&tls_ca=no.pem").tls_context()
