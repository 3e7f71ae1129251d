"""One run of a job at a time on this machine.

The kernel holds the lock, so it vanishes with its process however that ended; what stands in the file only tells people
who holds it. Runs on other machines are kept apart by the compare and set on the bookmark.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import TYPE_CHECKING

from dativo.errors import DativoError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class JobIsRunning(DativoError):  # noqa: N818  what it says is not an error of the program
    """Another process runs this job."""


@contextlib.contextmanager
def job_lock(file: Path, *, job: str, run_id: str) -> Iterator[None]:
    """Hold the lock of one job.

    Raises:
        JobIsRunning: another process holds it; the message names its pid and run id.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as e:
        raise DativoError(
            f"{file}: cannot be written: {e.strerror}", "give the user that runs dativo write access to state/"
        ) from e
    try:
        if not try_lock(descriptor):
            raise JobIsRunning(f"{job} is already running{_holder(descriptor)}", "wait for it to end, or stop it")
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), "run_id": run_id}).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Take the exclusive lock of an open file; False when another process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f" (pid {holder['pid']}, run {holder['run_id']})"
    except (ValueError, KeyError, TypeError):  # it has the lock but has not yet written who it is
        return ""
