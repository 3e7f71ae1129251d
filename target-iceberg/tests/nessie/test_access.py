"""Servers that ask who is there: tokens, OAuth2, tokens that expire while a run goes on; and TLS with certificates of one's own."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from identity import CLIENT, SECRET, Provider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ORDER = {"id": 1, "status": "new", "amount": "1.50"}


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    made = Provider(tmp_path_factory.mktemp("identity"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def guarded(provider: Provider, own_stack: Any) -> Any:
    """Servers of which Nessie lets in only who has a token of the provider."""
    return own_stack(
        {
            "nessie.server.authentication.enabled": "true",
            "quarkus.oidc.tenant-enabled": "true",
            "quarkus.oidc.auth-server-url": provider.address,
            "quarkus.oidc.client-id": "nessie",
            "quarkus.oidc.application-type": "service",
        }
    ).servers


@pytest.fixture
def guarded_job(guarded: Any, job_on: Any) -> Any:
    return job_on(guarded)


def test_a_token_lets_in_and_its_owner_is_the_committer(guarded_job: Any, provider: Provider) -> None:
    guarded_job.properties["token"] = provider.token(300)
    plan = guarded_job.plan(guarded_job.stream("orders"))
    done = guarded_job.run(plan, {"orders": [ORDER]}, 1)
    assert done.code == 0, done.err
    assert guarded_job.rows("orders") == {1: "new"}
    assert guarded_job.properties["token"] not in done.err + done.out


@pytest.mark.parametrize("token", [None, "garbage", "expired"])
def test_whoever_is_not_let_in_is_told_what_to_check(guarded_job: Any, provider: Provider, token: str | None) -> None:
    if token is not None:
        guarded_job.properties["token"] = provider.token(-60) if token == "expired" else token
    plan = guarded_job.plan(guarded_job.stream("orders"))
    done = guarded_job.run(plan, {"orders": [ORDER]}, 1, start={})
    assert done.code == 2
    assert "refuses access" in done.err
    assert "check the credentials" in done.err
    assert '"retryable": false' in done.err
    assert "Traceback" not in done.err


def test_oauth2_renews_its_token_while_a_run_goes_on(guarded_job: Any, provider: Provider) -> None:
    guarded_job.properties |= {"credential": f"{CLIENT}:{SECRET}", "oauth2-server-uri": f"{provider.address}/token"}
    plan = guarded_job.plan(guarded_job.stream("orders"))
    provider.lives_s = 4
    before = provider.handed_out
    done = guarded_job.finish(guarded_job.start(plan, {"orders": [ORDER]}, 1, meanwhile=lambda: time.sleep(6)))
    assert done.code == 0, done.err
    assert provider.handed_out > before + 1
    provider.lives_s = 300
    assert guarded_job.rows("orders") == {1: "new"}
    assert SECRET not in done.err + done.out


def test_a_wrong_secret_is_told_and_not_shown(guarded_job: Any, provider: Provider) -> None:
    guarded_job.properties |= {"credential": f"{CLIENT}:wr0ng-one", "oauth2-server-uri": f"{provider.address}/token"}
    done = guarded_job.run(guarded_job.plan(guarded_job.stream("orders")), {"orders": [ORDER]}, 1, start={})
    assert done.code == 2
    assert "refuses access" in done.err
    assert "wr0ng-one" not in done.err + done.out


def test_a_token_that_expires_meanwhile_withholds_the_run_and_the_next_is_whole(
    guarded_job: Any, provider: Provider
) -> None:
    guarded_job.properties["token"] = provider.token(300)
    plan = guarded_job.plan(guarded_job.stream("orders"), guarded_job.stream("returns"))
    assert guarded_job.run(plan, {"orders": [ORDER], "returns": [ORDER]}, 1).code == 0
    more = {"orders": [{**ORDER, "id": 2}], "returns": [{**ORDER, "id": 2}]}
    guarded_job.properties["token"] = provider.token(5)
    short = guarded_job.plan(guarded_job.stream("orders"), guarded_job.stream("returns"))
    done = guarded_job.finish(guarded_job.start(short, more, 2, meanwhile=lambda: time.sleep(7)))
    assert done.code == 2, done.err
    assert "refuses access" in done.err
    guarded_job.properties["token"] = provider.token(300)
    assert sorted(guarded_job.rows("orders")) == sorted(guarded_job.rows("returns")) == [1]
    renewed = guarded_job.plan(guarded_job.stream("orders"), guarded_job.stream("returns"))
    assert guarded_job.run(renewed, more, 2).code == 0
    assert sorted(guarded_job.rows("orders")) == sorted(guarded_job.rows("returns")) == [1, 2]


# -- TLS ----------------------------------------------------------------------------------------------------------------------


class TlsFront:
    """Takes TLS off connections to a server."""

    def __init__(self, upstream: str, certificate: Path, key: Path) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate, key)
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self.served = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError), client, self._context.wrap_socket(client, server_side=True) as safe:
            self.served += 1
            with socket.create_connection(self._upstream) as server:
                there = threading.Thread(target=_pump, args=(safe, server), daemon=True)
                there.start()
                _pump(server, safe)
                there.join(10)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that signs itself, for 127.0.0.1, and its key."""
    directory = tmp_path_factory.mktemp("tls")
    made, key = directory / "ca.pem", directory / "key.pem"
    names = ["-subj", "/CN=dativo-test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-keyout",
        str(key),
        "-out",
        str(made),
    ]
    subprocess.run([*command, *names], check=True, capture_output=True)
    return made, key


@pytest.fixture
def behind_tls(servers: Any, certificate: tuple[Path, Path]) -> Iterator[Callable[[str], TlsFront]]:
    fronts: list[TlsFront] = []

    def front(address: str) -> TlsFront:
        fronts.append(TlsFront(address, *certificate))
        return fronts[-1]

    yield front
    for made in fronts:
        made.close()


def test_certificates_of_ones_own_are_trusted_by_catalog_and_store(
    job: Any, servers: Any, behind_tls: Any, certificate: tuple[Path, Path]
) -> None:
    nessie, s3 = behind_tls(servers.nessie), behind_tls(servers.s3)
    job.properties |= {"uri": nessie.address, "s3.endpoint": s3.address}
    plan = job.plan(job.stream("orders"))
    refused = job.run(plan, {"orders": [ORDER]}, 1, start={})
    assert refused.code == 2
    assert "certificate" in refused.err.lower()
    job.properties["ssl.cabundle"] = str(certificate[0])
    done = job.run(job.plan(job.stream("orders")), {"orders": [ORDER]}, 1)
    assert done.code == 0, done.err
    assert nessie.served
    assert s3.served
    assert job.rows("orders") == {1: "new"}


def test_a_bundle_that_is_not_there_is_a_setting_to_mend(job: Any) -> None:
    job.properties["ssl.cabundle"] = f"{uuid.uuid4().hex}.pem"
    done = job.run(job.plan(job.stream("orders")), {"orders": [ORDER]}, 1, start={})
    assert done.code == 2
    assert "ca_bundle: there is no file" in done.err
