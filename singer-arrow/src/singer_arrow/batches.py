"""Write and read the files that a BATCH message of encoding `arrow` names.

One file is one Arrow IPC stream (schema, then record batches, uncompressed), so that the reader maps it and copies
nothing. The writer puts files into a private directory, the reader deletes each when it has taken its rows, and the
writer waits when too many lie there: that is the whole back-pressure.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import shutil
import stat
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

ENCODING_FORMAT: Final = "arrow"
ENCODING: Final = {"format": ENCODING_FORMAT, "compression": None}
"""Value of `encoding` in a BATCH message."""

DIRECTORY_ENV = "DATIVO_BATCH_DIR"
"""A private directory that somebody else makes and removes; without it the writer makes its own."""

_SHM = Path("/dev/shm")  # noqa: S108 - the directory made below it is private
_SHM_FREE_BYTES = 512 << 20
"""Containers often have 64 MB there; a handful of batch files of 16 to 32 MB must fit with room to spare."""
_PREFIX = "singer-arrow-"
_LOCK = "lock"
_SUFFIX = ".arrow"
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.02


class BatchError(Exception):
    """A batch file cannot be written or read; the message says which, why and what to do."""


class ReaderGoneError(BatchError):
    """Nobody will ever read the batch files: stop."""


@contextmanager
def batch_directory(root: str | Path | None = None, *, reader_fd: int = 1) -> Iterator[Path]:
    """The directory for batch files: `root`, else DATIVO_BATCH_DIR, else a new private one that goes at the end.

    Whoever names a directory owns it: it is neither made nor removed here.
    """
    named = root or os.environ.get(DIRECTORY_ENV)
    if named:
        directory = Path(named)
        if not directory.is_dir():
            raise BatchError(
                f"{directory}: no such directory for batch files; make it (mode 0700) or unset {DIRECTORY_ENV}"
            )
        yield directory
        return
    if not _Reader(reader_fd).is_live:
        raise BatchError(
            "the messages go to no pipe: batch files in a temporary directory would be gone before anyone reads them; "
            f"pipe into a target, name a directory in {DIRECTORY_ENV}, or use no batch_config"
        )
    parent = _memory_backed() or Path(tempfile.gettempdir())
    _sweep(parent)
    own = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))  # mode 0700
    try:
        with _held(own):
            yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Lock a directory as long as this process lives, so that others see when its owner was killed."""
    unnamed = directory / "lock.new"
    with unnamed.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(directory / _LOCK)  # nobody ever sees it unlocked while its owner lives
        yield


def _sweep(parent: Path) -> None:
    """Remove what killed writers of this user have left behind: in shared memory it would stay there for ever."""
    for directory in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError), (directory / _LOCK).open() as lock:  # held, or not ours, or just going
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)


def _memory_backed() -> Path | None:
    """The shared memory file system when files of our size fit there, else None for the place of temporary files."""
    try:
        room = os.statvfs(_SHM)
    except OSError:
        return None
    fits = room.f_bavail * room.f_frsize >= _SHM_FREE_BYTES
    return _SHM if fits and os.access(_SHM, os.W_OK | os.X_OK) else None


class BatchWriter:
    """Writes one stream's batch files and keeps at most `max_outstanding` of them unread.

    `reader_fd` is the pipe that the BATCH messages go to. When its other end is closed, or this process has lost its
    parent, waiting ends with ReaderGoneError. When it is no pipe (a file, a terminal) there is no reader to wait for.
    """

    def __init__(self, directory: str | Path, stream: str, max_outstanding: int = 4, *, reader_fd: int = 1) -> None:
        if max_outstanding < 1:
            raise ValueError("max_outstanding must be at least 1")
        self._directory = Path(directory)
        self._prefix = f"{re.sub(r'[^A-Za-z0-9_-]', '_', stream)[:60]}-{os.getpid()}-{id(self):x}"
        self._max_outstanding = max_outstanding
        self._reader = _Reader(reader_fd)
        self._outstanding: list[Path] = []
        self._written = 0

    def write(self, batches: pa.Table | pa.RecordBatch | Iterable[pa.RecordBatch]) -> str:
        """Write one file and return its URI for the manifest, after waiting until there is room for it.

        Raises:
            ReaderGoneError: nobody takes the files.
            BatchError: the directory is full or not writable, or there is not even one record batch.
        """
        self._wait_until(self._max_outstanding - 1)
        path = self._directory / f"{self._prefix}-{self._written:06d}{_SUFFIX}"
        try:
            _write_stream(path, batches)
        except OSError as e:
            path.unlink(missing_ok=True)
            raise BatchError(_cannot_write(path, e)) from e
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._written += 1
        self._outstanding.append(path)
        return path.as_uri()

    def close(self) -> None:
        """Wait until the reader has taken every file. Call it when all BATCH messages are flushed.

        Raises:
            ReaderGoneError: files are left that nobody takes; they have been deleted.
        """
        try:
            self._wait_until(0)
        except ReaderGoneError:
            self.discard()
            raise

    def discard(self) -> None:
        """Delete every file that has not been taken."""
        for path in self._outstanding:
            path.unlink(missing_ok=True)
        self._outstanding.clear()

    def _wait_until(self, outstanding: int) -> None:
        pause_s = _FIRST_PAUSE_S
        while True:
            self._outstanding = [path for path in self._outstanding if path.exists()]
            if len(self._outstanding) <= outstanding or not self._reader.is_live:
                return
            if self._reader.gone():
                raise ReaderGoneError("the reader of the batch files is gone; see the target's own message")
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)


class _Reader:
    """What can be known of the process at the other end of a pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._parent = os.getppid()
        try:
            mode = os.fstat(fd).st_mode
        except OSError:
            mode = 0
        self.is_live = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)
        """Something reads while we write, as opposed to a file or a terminal."""

    def gone(self) -> bool:
        """The other end is closed, or whoever connected the two ends has left."""
        if os.getppid() != self._parent:
            return True
        poll = select.poll()
        poll.register(self._fd, 0)  # errors and hang-ups are always told
        return any(event & (select.POLLERR | select.POLLHUP | select.POLLNVAL) for _, event in poll.poll(0))


def _write_stream(path: Path, batches: Any) -> None:
    import pyarrow as pa

    if isinstance(batches, pa.Table):
        schema, batches = batches.schema, batches.to_batches()
    else:
        batches = iter([batches] if isinstance(batches, pa.RecordBatch) else batches)
        first = next(batches, None)
        if first is None:
            raise BatchError("a batch file needs at least one record batch: its schema comes from there")
        schema, batches = first.schema, _chain(first, batches)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _cannot_write(path: Path, error: OSError) -> str:
    advice = "check that the directory exists and is writable"
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        advice = f"make room, or name another directory in {DIRECTORY_ENV}"
    return f"{path}: cannot write the batch file: {error.strerror or error}; {advice}"


@contextmanager
def open_batch(uri: str) -> Iterator[pa.RecordBatchReader]:
    """Map a batch file and read its record batches; they stay valid after the file is removed.

    Raises:
        BatchError: not a file URI, no such file, or not an Arrow IPC stream.
    """
    import pyarrow as pa

    path = _path(uri)
    try:
        source = pa.memory_map(str(path), "r")
    except OSError as e:
        raise BatchError(
            f"{uri}: cannot open the batch file: {e.strerror or e}; is DATIVO_BATCH_DIR the same here?"
        ) from e
    with source:
        try:
            reader = pa.ipc.open_stream(source)
        except pa.ArrowInvalid as e:
            raise BatchError(f"{uri}: not an Arrow IPC stream: {e}") from e
        with reader:
            yield reader


def remove(uri: str) -> None:
    """Delete a batch file: the sign for the writer that it may write another. Twice is harmless."""
    with suppress(FileNotFoundError):
        _path(uri).unlink()


def _path(uri: str) -> Path:
    """Local path of a manifest entry. Only names that a BatchWriter gives are taken, since readers delete them."""
    parts = urlsplit(uri)
    path = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or path.suffix != _SUFFIX:
        raise BatchError(f"{uri}: not the URI of a batch file (file:///…{_SUFFIX})")
    return path
