"""What stands between connectorx and the server lets no more of a result through than is taken."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tap_mysql.relay import AHEAD_BYTES, WAITS_S, Gate, Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENT = AHEAD_BYTES * 4


@pytest.fixture(params=["tcp", "unix"])
def relay(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Relay]:
    """Before a server that says hello, waits for an answer, and sends as much as it can."""
    if request.param == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        where: Any = listener.getsockname()
    else:
        where = str(tmp_path / "server")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(where)
        listener.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                server, _ = listener.accept()
                server.sendall(b"hello")
                threading.Thread(target=send, args=(server,), daemon=True).start()

    def send(server: socket.socket) -> None:
        with contextlib.suppress(OSError), server:
            if server.recv(100) != b"please":  # the relay was ended
                return
            for _ in range(SENT >> 16):
                server.sendall(bytes(1 << 16))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    made = Relay(where)
    yield made
    made.close()
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def connected(relay: Relay) -> socket.socket:
    where = relay.address()
    client = socket.socket(socket.AF_UNIX if isinstance(where, str) else socket.AF_INET)
    client.connect(where)
    assert client.recv(100) == b"hello"
    client.sendall(b"please")
    client.settimeout(2)
    return client


def received(client: socket.socket, at_most: int = SENT) -> int:
    """Bytes that come before it stands still, or ends."""
    n = 0
    with contextlib.suppress(TimeoutError):
        while n < at_most and (block := client.recv(1 << 20)):
            n += len(block)
    return n


def test_no_more_comes_than_is_taken(relay: Relay) -> None:
    with connected(relay) as client:
        first = received(client)
        assert AHEAD_BYTES - (1 << 20) <= first <= AHEAD_BYTES + (1 << 20)
        results = iter([lambda: received(client, first), lambda: received(client)])
        batches = relay.paced(result() for result in results)
        second = next(batches)
        assert second >= first, "while it is waited for, all comes"
        assert first + second + next(batches) == SENT
        assert list(batches) == []


def test_a_result_that_is_given_up_ends_its_connections_and_the_next_one_has_room(relay: Relay) -> None:
    with connected(relay) as client:
        received(client)
        batches = relay.paced(iter([1, 2]))
        next(batches)
        batches.close()
        received(client)
        assert client.recv(1) == b""
    with connected(relay) as client:
        assert received(client) > AHEAD_BYTES - (1 << 20)


def test_it_is_started_again_when_it_was_killed(relay: Relay) -> None:
    relay.address()
    assert relay._process is not None
    relay._process.kill()
    relay._process.wait()
    with connected(relay) as client:
        assert received(client, 1 << 20) >= 1 << 20


def test_a_server_that_does_not_listen_shows_as_a_connection_that_ends(tmp_path: Path) -> None:
    relay = Relay(str(tmp_path / "nothing"))
    try:
        client = socket.socket(socket.AF_UNIX)
        where = relay.address()
        assert isinstance(where, str)
        with client:
            client.connect(where)
            assert client.recv(1) == b""
    finally:
        relay.close()


def test_what_is_there_already_when_somebody_asks_is_not_sent_for_again() -> None:
    now = [0.0]
    gate = Gate(100, clock=lambda: now[0])
    gate.count(100)  # a queue of batches, which nobody has taken yet
    for _ in range(1000):
        gate.open()
        assert not gate.may_pass
        gate.close()
    gate.open()
    now[0] += WAITS_S
    assert gate.may_pass
    gate.count(10)
    gate.close()
    assert gate.may_pass, "the one who had to wait has taken all"
    gate.count(99)
    assert gate.may_pass
    gate.count(1)
    assert not gate.may_pass
