"""Find the files of a stream, read their bytes as UTF-8 text, and notice when one changes meanwhile."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import io
import os
import stat
import zlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tap_kit.errors import TapError

if TYPE_CHECKING:
    from tap_csv.settings import Dialect, FileSet

_CHUNK_BYTES = 1 << 20
_SAMPLE_BYTES = 1 << 16
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


@dataclass(frozen=True)
class SourceFile:
    """A file that belongs to a stream."""

    path: Path
    key: str
    """Its name in bookmarks and rows: relative to the base directory where it lies below it, with forward slashes."""
    dialect: Dialect

    def stat(self) -> FileStat:
        """Size and modification time now.

        Raises:
            TapError: it is gone, or may not be looked at.
        """
        try:
            return FileStat.of(self.path.stat())
        except OSError as e:
            raise TapError(f"{self.key}: cannot read the file: {e.strerror}") from e


@dataclass(frozen=True)
class FileStat:
    """What the file system says of a file's content."""

    size: int
    modified_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> FileStat:
        """The two facts out of many."""
        return cls(status.st_size, status.st_mtime_ns)

    @property
    def modified(self) -> str:
        """RFC 3339 in UTC, with the nanoseconds that the file system knows."""
        seconds, nanoseconds = divmod(self.modified_ns, 1_000_000_000)
        moment = datetime.fromtimestamp(seconds, timezone.utc)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z"


def find(file_set: FileSet, base: Path) -> tuple[list[SourceFile], list[str]]:
    """Files of one entry, ordered by key, and the patterns that match nothing."""
    found: dict[str, SourceFile] = {}
    missing = []
    for pattern in file_set.patterns:
        paths = _matches(base / pattern)
        if not paths:
            missing.append(pattern)
        for path in paths:
            key = key_of(path, base)
            found.setdefault(key, SourceFile(path, key, file_set.dialect))
    return [found[key] for key in sorted(found)], missing


def is_pattern(text: str) -> bool:
    """Whether a path has wildcards."""
    return glob.has_magic(text)


def _matches(pattern: Path) -> list[Path]:
    text = os.path.normpath(pattern)
    if Path(text).exists() or not glob.has_magic(text):  # a name may contain brackets
        paths = [Path(text)] if Path(text).exists() else []
    else:
        paths = [p for p in map(Path, glob.glob(text, recursive=True)) if p.is_file()]  # noqa: PTH207 - as users know it
    for path in paths:
        if path.is_dir():
            raise TapError(f"{path}: is a directory; name its files, e.g. {path.name}/*.csv")
    return paths


def key_of(path: Path, base: Path) -> str:
    """Name of a file in bookmarks and rows."""
    try:
        return path.relative_to(os.path.normpath(base)).as_posix()
    except ValueError:
        return path.as_posix()


def digest(file: SourceFile) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with open_bytes(file) as stream:
        source = _Hashing(stream, os.fstat(stream.fileno()).st_size)
        while source.read(_CHUNK_BYTES):
            pass
        return source.hexdigest()


class ByteSource(Protocol):
    """Something to read bytes from until there are none."""

    def read(self, n: int, /) -> bytes:
        """At most n bytes; empty at the end."""


class OpenFile:
    """A file being read: UTF-8 bytes out, digest and check for changes at the end."""

    def __init__(self, file: SourceFile, stream: io.FileIO) -> None:
        self._file = file
        self._stream = stream
        self._status = os.fstat(self._stream.fileno())
        self._raw = _Hashing(self._stream, self._status.st_size)
        self._bytes: ByteSource = _Gunzip(self._raw, file.key) if file.path.suffix.lower() == ".gz" else self._raw
        head = self._from(self._bytes, _SAMPLE_BYTES)
        self.encoding, mark_length = _encoding_of(head, file.dialect.encoding)
        """Python's name of the codec that is used."""
        head = head[mark_length:]
        if self.encoding == "utf-8" and (guess := _guess(head)).startswith("utf-16"):
            raise TapError(f"{file.key}: every other byte is NUL, so it looks like {guess}; set encoding: {guess}")
        self._rest: ByteSource = _Prepended(head, self._bytes)
        if self.encoding != "utf-8":
            self._rest = _Transcoded(self._rest, self.encoding, file.key)

    def read(self, n: int) -> bytes:
        """About n bytes of UTF-8 text (bytes that are none in the file's encoding are passed on); empty at the end.

        Raises:
            TapError: the file cannot be read on, or decompressed, or is not in its encoding.
        """
        return self._from(self._rest, n)

    def _from(self, source: ByteSource, n: int) -> bytes:
        try:
            return source.read(n)
        except OSError as e:
            raise TapError(f"{self._file.key}: cannot read the file: {e.strerror or e}") from e

    def finish(self) -> tuple[FileStat, str]:
        """Size and time, and SHA-256 of what was read.

        Raises:
            TapError: the file was changed since it was opened.
        """
        while self._raw.read(_CHUNK_BYTES):
            pass
        now = os.fstat(self._stream.fileno())
        before = FileStat.of(self._status)
        try:
            replaced = not os.path.samestat(self._file.path.stat(), now)
        except OSError:
            replaced = True
        if replaced or FileStat.of(now) != before or self._raw.length != before.size:
            raise TapError(
                f"{self._file.key}: the file changed while it was read; run again when whoever writes it has finished "
                "(write to another name and rename it, then this cannot happen)"
            )
        return before, self._raw.hexdigest()


def open_bytes(file: SourceFile) -> io.FileIO:
    """The bytes of a regular file, unbuffered; close it.

    Raises:
        TapError: it cannot be opened, or is a pipe or something else that cannot be read twice.
    """
    try:
        stream = io.FileIO(file.path)
    except OSError as e:
        raise TapError(f"{file.key}: cannot read the file: {e.strerror}; check that it exists and may be read") from e
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        raise TapError(f"{file.key}: is not a regular file")
    return stream


class _Hashing:
    """Bytes as they are stored, with their digest. As many as there were: a file that grows is not followed."""

    def __init__(self, stream: io.FileIO, size: int) -> None:
        self._stream = stream
        self._size = size
        self._digest = hashlib.sha256()
        self.length = 0

    def read(self, n: int, /) -> bytes:
        data = self._stream.read(min(n, self._size - self.length))
        self._digest.update(data)
        self.length += len(data)
        return data

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _Gunzip:
    """Decompressed bytes of all members of a gzip file."""

    def __init__(self, stream: _Hashing, name: str) -> None:
        self._stream = gzip.GzipFile(fileobj=io.BufferedReader(_RawAdapter(stream), _CHUNK_BYTES))
        self._name = name

    def read(self, n: int, /) -> bytes:
        try:
            return self._stream.read(n)
        except (EOFError, gzip.BadGzipFile, zlib.error) as e:
            raise TapError(
                f"{self._name}: the gzip file is damaged or not complete: {e}; copy or write it again"
            ) from e


class _RawAdapter(io.RawIOBase):
    """What `gzip` wants of a file."""

    def __init__(self, stream: _Hashing) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Prepended:
    """Bytes that were read to look at them, then the others."""

    def __init__(self, head: bytes, stream: ByteSource) -> None:
        self._head = head
        self._stream = stream

    def read(self, n: int, /) -> bytes:
        head, self._head = self._head, b""
        return head + self._stream.read(max(n - len(head), 1)) if head else self._stream.read(n)


class _Transcoded:
    """UTF-8 made of another encoding; a byte that has no meaning there is kept, so that its record can be rejected."""

    def __init__(self, stream: ByteSource, encoding: str, name: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="surrogateescape")
        self._encoding = encoding
        self._name = name

    def read(self, n: int, /) -> bytes:
        while True:
            data = self._stream.read(n)
            try:
                text = self._decoder.decode(data, final=not data)
                if text or not data:
                    return text.encode("utf-8", "surrogateescape")
            except UnicodeError as e:
                raise TapError(
                    f"{self._name}: is not {self._encoding}: {e}; set encoding to what the file is in"
                ) from e


def _encoding_of(head: bytes, wanted: str) -> tuple[str, int]:
    """The codec for a file that begins with `head`, and how many bytes of it are a byte order mark."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding, len(mark)
    if wanted == "auto":
        return _guess(head), 0
    return {"utf-8-sig": "utf-8", "utf-16": "utf-16-le", "ascii": "utf-8"}.get(wanted, wanted), 0


def _guess(head: bytes) -> str:
    """UTF-16 when every other byte is NUL, UTF-8 when it decodes, else Latin-1, in which everything does."""
    if len(head) >= 2 and head[1::2].count(0) > len(head) * 0.4 > head[::2].count(0):
        return "utf-16-le"
    if len(head) >= 2 and head[::2].count(0) > len(head) * 0.4 > head[1::2].count(0):
        return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return "iso8859-1"
    return "utf-8"
