"""Consul that asks who is there: tokens, and TLS."""

import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import requests

from tests.contract.discovery.conftest import QUICK, opened, serving
from tests.contract.discovery.watching import watching
from tests.support.consul_server import ConsulServer, consul_program, consul_server

SERVICE: Final = "inventory-srv"
MASTER: Final = "11111111-2222-3333-4444-555555555555"
RULES: Final = 'service_prefix "" { policy = "write" } node_prefix "" { policy = "read" }'


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[ConsulServer]:
    """A Consul that answers nothing to who has no token."""
    tokens = {"initial_management": MASTER, "agent": MASTER}
    acl = {"acl": {"enabled": True, "default_policy": "deny", "tokens": tokens}}
    with consul_server(tmp_path, acl, token=MASTER) as server:
        yield server


def services_token(consul: ConsulServer) -> str:
    """A token that may do what a service needs, and nothing else."""
    consul.put("acl/policy", {"Name": "services", "Rules": RULES})
    return str(consul.put("acl/token", {"Policies": [{"Name": "services"}]})["SecretID"])


def with_token(consul: ConsulServer, token: str) -> str:
    return f"{consul.url.replace('://', f'://{token}@')}?{QUICK}"


def test_a_token_that_may_write_services_and_read_nodes_is_enough(
    guarded: ConsulServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONSUL_HTTP_TOKEN", "0" * 8)  # the URL's counts
    with serving() as server, opened(with_token(guarded, services_token(guarded))) as discovery:
        discovery.register(SERVICE, server.address)
        watching(discovery, SERVICE).until((server.address,))
        discovery.deregister(SERVICE, server.address)
        assert guarded.get("agent/services") == {}


def test_without_a_token_nobody_is_found_and_the_log_says_why_without_a_token(
    guarded: ConsulServer, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "99999999-2222-3333-4444-555555555555"
    with serving() as server, opened(with_token(guarded, wrong)) as discovery:
        discovery.register(SERVICE, server.address)
        assert watching(discovery, SERVICE).answer == [()]
        assert guarded.get("agent/services") == {}
    said = capsys.readouterr().out + caplog.text  # our lines, and those of the libraries
    assert "GET /v1/health" in said
    assert "ACL not found" in said or "Permission denied" in said
    assert wrong not in said


def test_by_tls_both_sides_show_who_they_are(tmp_path: Path) -> None:
    make = [consul_program(), "tls"]
    subprocess.run([*make, "ca", "create"], cwd=tmp_path, check=True, capture_output=True)
    certificate = [*make, "cert", "create", "-additional-ipaddress=127.0.0.1"]
    subprocess.run([*certificate, "-server"], cwd=tmp_path, check=True, capture_output=True)
    subprocess.run([*certificate, "-client"], cwd=tmp_path, check=True, capture_output=True)
    ca, ours = tmp_path / "consul-agent-ca.pem", tmp_path / "dc1-client-consul-0"
    theirs = tmp_path / "dc1-server-consul-0"
    tls = {"ca_file": str(ca), "cert_file": f"{theirs}.pem", "key_file": f"{theirs}-key.pem", "verify_incoming": True}
    files = f"tls_ca={ca}&tls_cert={ours}.pem&tls_key={ours}-key.pem"
    with consul_server(tmp_path, {"tls": {"https": tls}}, https=True) as consul, serving() as server:
        url = f"consul+https://127.0.0.1:{consul.https_port}?{QUICK}"
        with opened(f"{url}&{files}") as discovery:
            discovery.register(SERVICE, server.address)
            watching(discovery, SERVICE).until((server.address,))
        with opened(f"{url}&tls_ca={ca}") as nobody:
            assert watching(nobody, SERVICE).answer == [()]
        with pytest.raises(requests.exceptions.SSLError):  # and what it speaks there is TLS
            requests.get(f"https://127.0.0.1:{consul.https_port}/v1/agent/self", timeout=5)
