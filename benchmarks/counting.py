"""A TCP proxy that counts what a server answers, for figures in bytes; writes its port, and the sum when its input ends."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_answered: Counter[str] = Counter()


@contextlib.contextmanager
def counted(host: str, port: int) -> Iterator[tuple[int, list[int]]]:
    """The proxy's port, and a list that holds the bytes when the block has ended."""
    command = [sys.executable, __file__, host, str(port)]
    bytes_answered: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield int(process.stdout.readline()), bytes_answered
        process.stdin.close()
        bytes_answered.append(int(process.stdout.readline()))


def main(host: str, port: str) -> None:
    """Serve until the input ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, host, int(port)), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
    print(_answered["bytes"], flush=True)


def _accept(listener: socket.socket, host: str, port: int) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((host, port))
        threading.Thread(target=_pass_on, args=(client, server, False), daemon=True).start()
        threading.Thread(target=_pass_on, args=(server, client, True), daemon=True).start()


def _pass_on(source: socket.socket, sink: socket.socket, is_counted: bool) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 18):
            _answered["bytes"] += len(block) if is_counted else 0
            sink.sendall(block)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    main(*sys.argv[1:])
