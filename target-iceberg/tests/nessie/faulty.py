"""A proxy before an HTTP server that loses, cuts, delays or replaces answers to the requests that a test names."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from dataclasses import dataclass
from urllib.parse import urlsplit

S3_ERRORS = {
    "slow_down": (503, "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"),
    "no_bucket": (
        404,
        "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>",
    ),
}
"""What an S3 server says."""


@dataclass
class Fault:
    """What happens to requests whose first line matches, and how often.

    `lose_answer`: the server gets the request and nobody its answer. `lose_request`: nobody gets it. `cut`: half of the answer.
    A number, or a word of S3_ERRORS: that answer instead of the server's, with the request thrown away.
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
        self.requests: list[str] = []
        """First lines of all."""
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
                elif fault.kind in S3_ERRORS:
                    status, body = S3_ERRORS[fault.kind]
                    head = f"HTTP/1.1 {status} Fault\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
                    client.sendall((head + body).encode())
                elif fault.kind == "lose_request":
                    return
                else:
                    answer = self._ask(request)
                    if fault.kind == "cut":
                        client.sendall(answer[: len(answer) // 2])
                    return

    def _next(self, line: str) -> Fault | None:
        with self._lock:
            self.requests.append(line)
            for fault in self.faults:
                if fault.hits < fault.times and fault.wanted.search(line):
                    fault.hits += 1
                    return fault
        return None

    def _ask(self, request: bytes) -> bytes:
        # Whoever waits to be told that he may go on has long done so, and no server has signed it.
        request = re.sub(rb"\r\nexpect: 100-continue", b"", request, count=1, flags=re.IGNORECASE)
        with socket.create_connection(self._upstream) as server:
            server.sendall(request)
            return _message(server, has_body=not request.startswith(b"HEAD ")) or b""


def _message(connection: socket.socket, *, has_body: bool = True) -> bytes | None:
    """One HTTP message, whole; None at the end of the connection. What answers HEAD tells of a body and has none."""
    stream = _Stream(connection)
    head = stream.until(b"\r\n\r\n")
    if head is None:
        return None
    lowered = head.lower()
    if not has_body:
        return head
    if b"transfer-encoding: chunked" in lowered:
        while (size := int((stream.until(b"\r\n") or b"0\r\n").split(b";")[0], 16)) > 0:
            stream.take(size + 2)
        while stream.until(b"\r\n") not in (b"\r\n", None):
            pass  # a trailer
    elif (found := re.search(rb"content-length: *(\d+)", lowered)) is not None:
        stream.take(int(found[1]))
    return bytes(stream.data[: stream.at])


class _Stream:
    """What has come on a connection, read piece by piece."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self.data, self.at = connection, bytearray(), 0

    def until(self, end: bytes) -> bytes | None:
        """Everything up to an end and with it; None when the connection ends before."""
        while (found := self.data.find(end, self.at)) < 0:
            if not self._more():
                return None
        start, self.at = self.at, found + len(end)
        return bytes(self.data[start : self.at])

    def take(self, n: int) -> None:
        """The next n bytes, or what there is of them."""
        while len(self.data) < self.at + n and self._more():
            pass
        self.at = min(len(self.data), self.at + n)

    def _more(self) -> bool:
        part = self._connection.recv(1 << 18)
        self.data += part
        return bool(part)
