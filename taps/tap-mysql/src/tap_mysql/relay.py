"""Between connectorx and the server: of a result no more is passed on than whoever takes the rows keeps up with.

connectorx reads as fast as the server sends, and what nobody has taken yet it keeps in memory, whatever it may be. It also holds
Python's lock while it connects; so what passes the bytes on is a process of its own, which knows no more than where the server is.
This file is both: the class that the tap uses, and the program, which needs no more than the standard library.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

AHEAD_BYTES = 8 << 20
"""So much of a result may wait in memory."""
WAITS_S = 0.002
"""Whoever has waited so long has found nothing; a batch that is there already is taken sooner."""
_BLOCK_BYTES = 256 << 10
_CONNECT_TIMEOUT_S = 10
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 6}
_AWAITED, _TAKEN, _DROP = b"a", b"t", b"d"
"""What the tap tells the program: a batch is waited for; it has come; close the connections."""

Server = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class Relay:
    """The tap's side.

    Args:
        server: where. The program listens on a socket of the same kind, since clients trust Unix sockets with more.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()

    def address(self) -> Server:
        """Where it listens; started when it does not run.

        Raises:
            OSError: it cannot be started.
        """
        if self._process is None or self._process.poll() is not None:
            self.close()
            own = None
            if isinstance(self._server, str):
                directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="tap-mysql-"))  # mode 0700
                own = str(Path(directory) / "socket")
            command = [sys.executable, "-I", "-S", __file__, json.dumps([self._server, own, AHEAD_BYTES])]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert self._process.stdout
            said = self._process.stdout.readline()
            if not said:
                raise OSError("the relay has ended at once")
            self._address = json.loads(said)
        return self._address if isinstance(self._address, str) else tuple(self._address)

    _address: Any = None

    def close(self) -> None:
        """End the program."""
        if self._process is not None:
            assert self._process.stdin
            assert self._process.stdout
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.stdout.close()
            self._process.wait()
            self._process = None
        self._stack.close()

    def paced(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Batches that are made of what the server sends; it sends while one is waited for, and a little beyond."""
        process, iterator = self._process, iter(batches)
        assert process
        assert process.stdout
        try:
            while True:
                _tell(process, _AWAITED)
                batch = next(iterator, None)
                _tell(process, _TAKEN)
                if batch is None:
                    return
                yield batch
        finally:
            if process is self._process:  # else it was ended, and another one is none of ours
                _tell(process, _DROP)
                process.stdout.readline()  # it is done, so that it cannot mean the next connection


def _tell(process: subprocess.Popen[bytes], what: bytes) -> None:
    assert process.stdin
    with contextlib.suppress(BrokenPipeError):  # it is gone, and its connections with it
        process.stdin.write(what)
        process.stdin.flush()


class Gate:
    """How much of a result may pass: what was taken cannot be told, only that nothing was left when somebody had to wait."""

    def __init__(self, ahead_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._changed, self._clock = threading.Condition(), clock
        self._ahead_bytes = self._credit = ahead_bytes
        self._awaited_since: float | None = None
        self._had_to_pass = False

    def open(self) -> None:
        """Somebody waits."""
        with self._changed:
            self._awaited_since, self._had_to_pass = self._clock(), False
            self._changed.notify_all()

    def close(self) -> None:
        """Nobody waits any more. If more had to pass for that, all that had passed before is taken."""
        with self._changed:
            self._awaited_since = None
            if self._had_to_pass:
                self._credit = self._ahead_bytes
                self._changed.notify_all()

    def reset(self) -> None:
        """Nothing has passed."""
        with self._changed:
            self._awaited_since, self._had_to_pass, self._credit = None, False, self._ahead_bytes
            self._changed.notify_all()

    @property
    def may_pass(self) -> bool:
        """Something may pass now."""
        return self._credit > 0 or (self._awaited_since is not None and self._left_s(self._awaited_since) <= 0)

    def wait(self) -> bool:
        """Return true, when something may pass."""
        with self._changed:
            while not self.may_pass:
                self._changed.wait(None if self._awaited_since is None else self._left_s(self._awaited_since))
            return True

    def _left_s(self, since: float) -> float:
        return since + WAITS_S - self._clock()

    def count(self, n: int) -> None:
        """So many bytes pass."""
        with self._changed:
            self._had_to_pass = self._had_to_pass or self._credit <= 0
            self._credit -= n


class Program:
    """The side of the bytes."""

    def __init__(self, server: Server, own: str | None, ahead_bytes: int) -> None:
        self._server, self._gate = server, Gate(ahead_bytes)
        self._sockets: list[socket.socket] = []
        if own is None:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.address: Any = self._listener.getsockname()
        else:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(own)
            self._listener.listen()
            self.address = own

    def run(self) -> None:
        """Until the tap closes its end, or is gone."""
        threading.Thread(target=self._accept, daemon=True).start()
        sys.stdout.write(json.dumps(self.address) + "\n")
        sys.stdout.flush()
        while said := os.read(0, 1):
            if said == _AWAITED:
                self._gate.open()
            elif said == _TAKEN:
                self._gate.close()
            else:
                self._drop()
                sys.stdout.write("dropped\n")
                sys.stdout.flush()

    def _drop(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()
        self._gate.reset()

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            try:
                server = self._connected()
            except OSError:
                client.close()  # whoever connects sees that nobody answers
                continue
            self._sockets += [client, server]
            threading.Thread(target=self._pass_on, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pass_on, args=(server, client, self._gate), daemon=True).start()

    def _connected(self) -> socket.socket:
        if isinstance(self._server, str):
            made = socket.socket(socket.AF_UNIX)
            made.connect(self._server)
            return made
        made = socket.create_connection((self._server[0], self._server[1]), _CONNECT_TIMEOUT_S)
        made.settimeout(None)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, seconds in _KEEPALIVE.items():  # so that a network which is gone is noticed within two minutes
            if (number := getattr(socket, option, None)) is not None:
                made.setsockopt(socket.IPPROTO_TCP, number, seconds)
        return made

    def _pass_on(self, source: socket.socket, sink: socket.socket, gate: Gate | None) -> None:
        with contextlib.suppress(OSError), contextlib.closing(_mover(source, sink)) as moved:
            next(moved)
            while gate is None or gate.wait():
                n = next(moved, 0)
                if not n:
                    break
                if gate is not None:
                    gate.count(n)
        for end in (source, sink):  # a protocol of questions and answers needs both ways
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _mover(source: socket.socket, sink: socket.socket) -> Generator[int, None, None]:
    """Moves what has come with each step, and says how much; the first step does nothing, and after the last there is nothing."""
    yield 0
    if not hasattr(os, "splice"):
        block = memoryview(bytearray(_BLOCK_BYTES))
        while n := source.recv_into(block):
            sink.sendall(block[:n])
            yield n
        return
    out, into = os.pipe()  # through which bytes go from socket to socket without a copy
    try:
        with contextlib.suppress(OSError):
            fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, _BLOCK_BYTES)
        while n := os.splice(source.fileno(), into, _BLOCK_BYTES):
            left = n
            while left:
                left -= os.splice(out, sink.fileno(), left)
            yield n
    finally:
        os.close(out)
        os.close(into)


if __name__ == "__main__":
    Program(*json.loads(sys.argv[1])).run()
