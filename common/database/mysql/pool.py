"""Connections to a MySQL or MariaDB server: set up before their first use, checked before each later one."""

import select
import ssl
import time
from contextlib import suppress
from typing import Any, Final

import peewee
import pymysql
from playhouse.pool import PooledMySQLDatabase
from pymysql.constants import CLIENT, CR, SERVER_STATUS

from common.database.mysql.errors import error_number
from common.database.mysql.url import MysqlUrl

Connection = Any
"""PyMySQL's, which is not typed."""

_SQL_MODE: Final = (
    "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION,"
    "ONLY_FULL_GROUP_BY"
)
_READ_COMMITTED: Final = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"

_REST_S: Final = 0.5
"""Seconds after a failure in which nobody tries to connect. One thread connects at a time; when a server does not even
refuse, many threads would each wait for the whole timeout, one after the other."""

_THERE_ALREADY: Final = frozenset({1050, 1060, 1061})  # the table, the column, the index


class _Server(peewee.MySQLDatabase):
    """Opens ready connections to one server."""

    def __init__(self, *args: Any, url: MysqlUrl, lock_wait: int, **kwargs: Any) -> None:
        self._url = url
        self._lock_wait = lock_wait
        self._rest_until = float("-inf")
        self._failure: Exception | None = None
        tls = url.tls_context()
        super().__init__(
            *args,
            host=url.host,
            port=url.port,
            user=url.user,
            password=url.password.get_secret_value().encode(),  # as text it would have to be Latin
            connect_timeout=url.connect_timeout,
            read_timeout=url.connect_timeout,  # for the login; afterwards as the URL says
            write_timeout=url.write_timeout,
            ssl=tls,
            ssl_disabled=tls is None,
            # An UPDATE counts the rows that it found, as SQLite does. By default it counts those that it changed:
            # putting what is there already would look like putting what is not there.
            # Several statements may come in one trip; values are always the driver's to quote.
            client_flag=CLIENT.FOUND_ROWS | CLIENT.MULTI_STATEMENTS,
            **kwargs,
        )

    def _connect(self) -> Connection:
        if self._failure is not None and time.monotonic() < self._rest_until:
            raise type(self._failure)(*self._failure.args)
        try:
            connection = super()._connect()  # type: ignore[misc]  # the stubs leave it out
            self._make_ready(connection)
        except (pymysql.Error, OSError, RuntimeError) as error:
            self._failure, self._rest_until = _as_it_is(error), time.monotonic() + _REST_S
            raise type(self._failure)(*self._failure.args) from error
        self._failure = None
        return connection

    def _make_ready(self, connection: Connection) -> None:
        mariadb = "mariadb" in connection.get_server_info().lower()
        # A client that was stopped in the middle of a transaction, or vanished, must not hold its rows for hours. MySQL
        # has such a limit only for all idle connections.
        idle = "idle_transaction_timeout" if mariadb else "wait_timeout"
        session = {
            "sql_mode": f"'{_SQL_MODE}'",
            "time_zone": "'+00:00'",
            "default_storage_engine": "InnoDB",
            "innodb_lock_wait_timeout": self._lock_wait,
            "lock_wait_timeout": self._lock_wait,
            idle: self._url.idle_transaction,
        }
        with connection.cursor() as cursor:
            cursor.execute("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in session.items()))
            cursor.execute(_READ_COMMITTED)
        wait_for_answers(connection, self._url.read_timeout)
        connection.begins = False


class MysqlPool(PooledMySQLDatabase, _Server):  # type: ignore[misc]  # playhouse is not typed
    """A pool of them.

    Attributes:
        resuming: Whether a statement is passed over that makes what is there already: a migration is made again
            that was interrupted.
    """

    resuming = False

    @property
    def read_timeout(self) -> int:
        """Seconds that the server may be silent within a statement."""
        return self._url.read_timeout

    def begin_with_next(self) -> None:
        """Begin a transaction, in the packet of its first statement: that spares a trip."""
        self._connection_now().begins = True

    def execute_sql(self, sql: str, params: Any = None) -> Any:
        begins = self._takes_begin()
        try:
            cursor = super().execute_sql(f"BEGIN;{sql}" if begins else sql, params)  # type: ignore[no-untyped-call]
            if begins:
                with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                    cursor.nextset()
        except (peewee.OperationalError, peewee.ProgrammingError) as error:
            if self.resuming and error_number(error) in _THERE_ALREADY:
                return self.cursor()
            raise
        return cursor

    def cursor(self, named_cursor: Any = None) -> Any:
        cursor: Any = super().cursor(named_cursor)  # type: ignore[no-untyped-call]
        if self._takes_begin():  # a use without `execute_sql`, such as COMMIT
            cursor.execute("BEGIN")
        return cursor

    def _takes_begin(self) -> bool:
        """Whether the next packet is to begin the transaction; only one is."""
        if self.is_closed():
            return False
        connection = self._connection_now()
        begins, connection.begins = connection.begins, False
        return bool(begins)

    def _connection_now(self) -> Connection:
        return self.connection()  # type: ignore[no-untyped-call]

    def _is_closed(self, conn: Connection) -> bool:
        # A server that stopped, or killed the connection, has sent something or closed it by now. A look costs no round
        # trip, and unlike a ping it can't hang while every thread waits for the pool.
        if not conn.open:
            return True
        looking = select.poll()
        looking.register(conn._sock, select.POLLIN)  # noqa: SLF001 PyMySQL has no other way to it
        return bool(looking.poll(0))

    def _can_reuse(self, conn: Connection) -> bool:
        conn.begins = False
        if not conn.open:
            return False
        if conn.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS:
            with suppress(pymysql.Error, OSError):
                conn.rollback()
                return True
            return False
        return True


def _as_it_is(error: Exception) -> Any:
    """PyMySQL reports a bad certificate as an unreachable server, and a missing package as a bug."""
    cause = getattr(error, "original_exception", None)
    if isinstance(cause, ssl.SSLError):
        return pymysql.OperationalError(CR.CR_SSL_CONNECTION_ERROR, str(cause))
    if isinstance(error, RuntimeError):  # a package that the login needs is not installed
        return pymysql.OperationalError(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, str(error))
    return error


def wait_for_answers(connection: Connection, seconds: int) -> None:
    """From now on the server may be silent for so long within a statement."""
    connection._read_timeout = seconds  # noqa: SLF001 PyMySQL takes it only for a connection's whole life
