"""What the servers of the tests have in common: ports, locks, waiting for them, ending them. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Collection, Iterator

ROOT = Path(__file__).resolve().parents[2] / ".services"


class ServicesError(Exception):
    """A service cannot be had; the message says what it lacks."""


def free_ports(n: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """One process at a time."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with (ROOT / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def wait_until_open(
    name: str, process: subprocess.Popen[bytes], port: int, within_s: float, log: Path | None = None
) -> None:
    """Wait until a child listens.

    Raises:
        ServicesError: it ended, or took too long.
    """
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            said = log.read_text(errors="replace")[-2000:] if log else ""
            raise ServicesError(f"{name} ended by itself with code {process.returncode}:\n{said}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.1)
    raise ServicesError(f"{name} was not ready within {within_s} s")


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)  # a child of this process that has ended is otherwise still there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def kill(pids: Collection[int]) -> None:
    """End processes as a power cut would, and wait until they are gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
