"""A proxy before an HTTP server that loses, cuts, delays or replaces answers to the requests that a test names."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Fault:
    """What happens to requests whose first line matches, and how often.

    `lose_answer`: the server gets the request and nobody its answer. `lose_request`: nobody gets it. `cut`: half of the answer.
    A number: that status instead of an answer, with the request thrown away.
    """

    wanted: re.Pattern[str]
    kind: str | int
    times: int
    hits: int = 0


class Faulty:
    """Listens on a port of its own and passes requests on, one connection for each."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (str(parts.hostname), int(parts.port or 80))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def fault(self, wanted: str, kind: str | int, times: int = 1) -> Fault:
        """From now on."""
        made = Fault(re.compile(wanted), kind, times)
        self.faults.append(made)
        return made

    def close(self) -> None:
        # A thread that waits in accept is not woken by close alone.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            while (request := _message(client)) is not None:
                fault = self._next(request.split(b"\r\n", 1)[0].decode())
                if fault is None:
                    client.sendall(self._ask(request))
                elif isinstance(fault.kind, int):
                    client.sendall(f"HTTP/1.1 {fault.kind} Fault\r\nContent-Length: 0\r\n\r\n".encode())
                elif fault.kind == "lose_request":
                    return
                else:
                    answer = self._ask(request)
                    if fault.kind == "cut":
                        client.sendall(answer[: len(answer) // 2])
                    return

    def _next(self, line: str) -> Fault | None:
        with self._lock:
            for fault in self.faults:
                if fault.hits < fault.times and fault.wanted.search(line):
                    fault.hits += 1
                    return fault
        return None

    def _ask(self, request: bytes) -> bytes:
        with socket.create_connection(self._upstream) as server:
            server.sendall(request)
            return _message(server) or b""


def _message(connection: socket.socket) -> bytes | None:
    """One HTTP message, whole; None at the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part: Any = connection.recv(1 << 16)
        if not part:
            return None
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while not body.endswith(b"0\r\n\r\n"):
            body += connection.recv(1 << 16)
    elif (found := re.search(rb"content-length: *(\d+)", lowered)) is not None:
        while len(body) < int(found[1]):
            body += connection.recv(1 << 16)
    return head + b"\r\n\r\n" + body
