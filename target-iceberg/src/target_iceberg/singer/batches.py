"""Files of a BATCH message, read in pieces of bounded size: Arrow tables, or lines as RECORD messages have them.

Files of our own encoding are removed when their rows are staged, which tells the tap that it may write another
(protocol, rule 29). Files of other encodings belong to whoever wrote them and stay.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from singer_arrow import ENCODING_FORMAT, open_batch
from target_iceberg.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_iceberg.singer.messages import Batch, Encoding

TABLE_ROWS = 131_072
LINES_BYTES = 8 << 20
_MAX_LINE_BYTES = 1 << 30
_COMPRESSIONS = {None: None, "none": None, "gzip": "gzip", "zstd": "zstd"}
_JSON_LINES, _PARQUET = "jsonl", "parquet"
_BLANK_LINES = re.compile(rb"(?:[ \t\r]*\n)+")


def require_known_encoding(message: Batch) -> None:
    """Refuse what cannot be read, before anything of it is.

    Raises:
        TargetError: the encoding is none of those that are known.
    """
    encoding = message.encoding
    if encoding.format in {ENCODING_FORMAT, _PARQUET}:
        return
    if encoding.format == _JSON_LINES and encoding.compression in _COMPRESSIONS:
        return
    given = encoding.format + (f" with {encoding.compression}" if encoding.compression else "")
    raise TargetError(
        f"stream {message.stream}: BATCH encoding {given} is not understood; known are {ENCODING_FORMAT}, parquet, and jsonl "
        "with gzip, zstd or none; change batch_config in the tap's configuration, or take it out to send records",
        "source",
    )


def is_ours(encoding: Encoding) -> bool:
    """Whether the file is removed once its rows are staged."""
    return encoding.format == ENCODING_FORMAT


def is_lines(encoding: Encoding) -> bool:
    """Whether `batch_lines` reads it, and not `batch_tables`."""
    return encoding.format == _JSON_LINES


def batch_tables(message: Batch, uri: str) -> Iterator[pa.Table]:
    """The rows of one file of a batch.

    Raises:
        TargetError: the file cannot be read.
    """
    if is_ours(message.encoding):
        with open_batch(uri) as reader:
            yield from _grouped(reader)
        return
    with _readable(message, uri), _open(uri) as source, pq.ParquetFile(source) as parquet:
        for batch in parquet.iter_batches(TABLE_ROWS):
            yield pa.Table.from_batches([batch])


def batch_lines(message: Batch, uri: str) -> Iterator[tuple[bytes, int]]:
    """The records of one file as whole RECORD lines, and how many.

    Raises:
        TargetError: the file cannot be read, or is cut off.
    """
    rest = b""
    with _readable(message, uri), _open(uri, _COMPRESSIONS[message.encoding.compression]) as source:
        while block := source.read(LINES_BYTES):
            block = rest + block
            cut = block.rfind(b"\n") + 1
            rest = block[cut:]
            if len(rest) > _MAX_LINE_BYTES:
                raise TargetError(
                    f"stream {message.stream}: {uri}: a line of more than {_MAX_LINE_BYTES:,} bytes", "source"
                )
            if cut:
                yield as_records(block[:cut])
    if rest.strip():
        yield as_records(rest + b"\n")


def as_records(lines: bytes) -> tuple[bytes, int]:
    """Lines of JSON, each ended, as the envelopes that the decoder reads, and how many; blank lines are left out."""
    lines = _BLANK_LINES.sub(b"\n", lines).lstrip(b"\n")
    rows = lines.count(b"\n")
    wrapped = b'{"record":' + lines.replace(b"\n", b'}\n{"record":')
    return wrapped[: len(wrapped) - len(b'{"record":')], rows


def _grouped(reader: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    group: list[pa.RecordBatch] = []
    rows = 0
    for batch in reader:
        group.append(batch)
        rows += batch.num_rows
        if rows >= TABLE_ROWS:
            yield pa.Table.from_batches(group)
            group, rows = [], 0
    if group:
        yield pa.Table.from_batches(group)


def _open(uri: str, compression: str | None = None) -> Any:
    parts = urlsplit(uri)
    if parts.scheme in {"", "file"}:
        fs: pafs.FileSystem = pafs.LocalFileSystem()
        path = unquote(parts.path) if parts.scheme else uri
    else:
        fs, path = pafs.FileSystem.from_uri(uri)
    return fs.open_input_stream(path, compression=compression) if compression is not None else fs.open_input_file(path)


@contextmanager
def _readable(message: Batch, uri: str) -> Iterator[None]:
    try:
        yield
    except (OSError, EOFError, pa.ArrowInvalid) as e:
        what = " ".join([message.encoding.format, message.encoding.compression or ""]).strip()
        raise TargetError(
            f"stream {message.stream}: the batch file {uri} cannot be read as {what}: {e}; nothing was published",
            "source",
        ) from e
