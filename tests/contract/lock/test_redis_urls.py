"""The other ways to a Redis: by Sentinels that name a new master, and by TLS."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from common.deadline import Deadline
from common.lock.open import open_lock
from common.lock.port import Lock
from tests.redis_server import PATIENCE, RedisServer, free_port, redis_server, wait_until


def is_guarded(lock: Lock) -> bool:
    with lock.holding(["tea"], Deadline.after(PATIENCE)) as held:
        return not held.lost


@contextmanager
def opened(url: str) -> Iterator[Lock]:
    lock = open_lock(url)
    try:
        yield lock
    finally:
        lock.close()


def test_after_a_failover_the_lock_is_kept_in_the_new_master(tmp_path: Path) -> None:
    with ExitStack() as servers:
        master = servers.enter_context(redis_server(tmp_path, "requirepass pw", "masterauth pw", password="pw"))
        follows = f"replicaof 127.0.0.1 {master.port}"
        replica = servers.enter_context(
            redis_server(tmp_path, "requirepass pw", "masterauth pw", follows, password="pw")
        )
        sentinel = RedisServer(
            tmp_path,
            f"sentinel monitor stock-lock 127.0.0.1 {master.port} 1",
            "sentinel auth-pass stock-lock pw",
            "sentinel down-after-milliseconds stock-lock 500",
            "sentinel failover-timeout stock-lock 3000",
            program="redis-sentinel",
        )
        servers.callback(sentinel.close)
        sentinel.start()
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", "the replica follows")
        wait_until(lambda: len(sentinel.client.sentinel_slaves("stock-lock")) == 1, "the Sentinel knows the replica")

        url = f"redis+sentinel://:pw@127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/stock-lock/0"
        with opened(url) as lock:  # the first of its Sentinels is not there
            with lock.holding(["tea"], Deadline.after(PATIENCE)) as held:
                assert not held.lost
                assert master.client.exists("tea")
            master.kill()
            wait_until(lambda: replica.client.info("replication")["role"] == "master", "the Sentinel makes it master")
            wait_until(lambda: is_guarded(lock), "the lock is kept in the new master", within=5)
            with lock.holding(["tea"], Deadline.after(PATIENCE)):
                assert replica.client.exists("tea")


def test_tls_is_spoken_with_who_shows_a_certificate_of_the_authority(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    tls_port = free_port()
    with redis_server(
        tmp_path,
        f"tls-port {tls_port}",
        f'tls-cert-file "{certificate}"',
        f'tls-key-file "{key}"',
        f'tls-ca-cert-file "{certificate}"',
        "tls-auth-clients no",
    ):
        with opened(f"rediss://127.0.0.1:{tls_port}/0?tls_ca={certificate}") as lock:
            assert is_guarded(lock)
        with opened(f"rediss://127.0.0.1:{tls_port}/0") as lock:
            assert not is_guarded(lock)


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 and its key, in two files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = folder / "redis.crt", folder / "redis.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return certificate_file, key_file
