"""The two ways from a tap to a target: Arrow files named by BATCH messages, or one RECORD line per row.

Both give the same table. A tap that has Arrow tables writes to a lane and does not know which one it is.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from singer_arrow import ENCODING, ENCODING_FORMAT, BatchWriter, ReaderGoneError, batch_directory
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import pyarrow as pa

    from tap_kit.lines import LineWriter

BATCH_CONFIG: dict[str, Any] = {
    "type": ["object", "null"],
    "description": "How records travel to a target that understands Arrow batches: encoding.format arrow, storage.root a "
    "directory for the files, or empty for $DATIVO_BATCH_DIR or a private temporary one. Without it: RECORD messages.",
    "properties": {
        "encoding": {
            "type": "object",
            "properties": {
                "format": {"type": "string", "enum": [ENCODING_FORMAT]},
                "compression": {"type": ["string", "null"], "enum": ["none", None]},
            },
        },
        "storage": {
            "type": "object",
            "properties": {"root": {"type": "string"}, "prefix": {"type": ["string", "null"]}},
        },
    },
}
"""JSON Schema of the setting `batch_config` of our taps; the SDK's own knows jsonl and parquet only."""

BATCH_ROWS = 65_536
BATCH_BYTES = 4 << 20
FILES_AHEAD = 8
"""Batch files that the target has not taken yet: so many that it goes on with them while the source keeps us waiting, and we while it
writes a row group."""
_RECORD_CHUNK_ROWS = 8192


class Misfit(NamedTuple):
    """A row of which some values do not fit their columns' types."""

    row: int
    """Position in the table it comes with; the table holds NULL where `texts` has a value."""
    texts: dict[str, str]
    """Column name -> the source's text. It travels as it is, so that the target rejects the row by name."""


class Lane(Protocol):
    """Where rows go."""

    def write(self, rows: pa.Table, misfits: Sequence[Misfit] = ()) -> None:
        """Take a table with the columns of the stream's SCHEMA."""

    def flush(self) -> None:
        """All rows taken so far are in messages: a STATE that covers them may follow."""


@contextmanager
def open_lane(
    config: Mapping[str, Any],
    stream: str,
    schema: Mapping[str, Any],
    lines: LineWriter,
    json_columns: Collection[str] = (),
) -> Iterator[Lane]:
    """The lane that the tap's `batch_config` asks for.

    `schema` is the one in the stream's SCHEMA message; `json_columns` have JSON text, which is part of the record in a
    RECORD and a text in a batch.
    """
    records = RecordLane(stream, schema, lines, json_columns)
    root = arrow_root(config)
    if root is None:
        yield records
        return
    with batch_directory(root) as directory:
        lane = ArrowLane(stream, BatchWriter(directory, stream, FILES_AHEAD), records, lines)
        try:
            yield lane
            lane.close()
        except TapError:
            # The target is to say that the tap has failed, and not that a file is missing which it has not come to yet.
            lane.leave()
            raise
        except BaseException:
            lane.discard()
            raise


def arrow_root(config: Mapping[str, Any]) -> str | None:
    """Directory for batch files when `batch_config` asks for Arrow ("" leaves the choice to us), None for RECORD.

    Raises:
        TapError: `batch_config` asks for something else.
    """
    batch = config.get("batch_config")
    if not batch:
        return None
    encoding = (batch.get("encoding") or {}).get("format")
    if encoding != ENCODING_FORMAT:
        raise TapError(
            f"batch_config.encoding.format {encoding!r} is not supported; use {ENCODING_FORMAT!r}, or no batch_config"
        )
    root = str((batch.get("storage") or {}).get("root") or "")
    return root.removeprefix("file://")


class RecordLane:
    """RECORD lines."""

    def __init__(
        self, stream: str, schema: Mapping[str, Any], lines: LineWriter, json_columns: Collection[str] = ()
    ) -> None:
        from tap_kit.records import RecordEncoder

        self._encoder = RecordEncoder(stream, schema, json_columns)
        self._lines = lines

    def write(self, rows: pa.Table, misfits: Sequence[Misfit] = ()) -> None:
        """Encode and write, some thousand rows at a time."""
        good = without(rows, misfits)
        for start in range(0, good.num_rows, _RECORD_CHUNK_ROWS):
            self._lines.write_lines(self._encoder.encode(good.slice(start, _RECORD_CHUNK_ROWS)))
        if misfits:
            self._lines.write_lines(self._encoder.encode_misfits(rows, misfits))

    def flush(self) -> None:
        """Hand everything written to the pipe."""
        self._lines.flush()


class ArrowLane:
    """Arrow files. Rows of several small writes share a file; rows with misfits go as records."""

    def __init__(self, stream: str, writer: BatchWriter, records: RecordLane, lines: LineWriter) -> None:
        self._stream = stream
        self._writer = writer
        self._records = records
        self._lines = lines
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._bytes = 0

    def write(self, rows: pa.Table, misfits: Sequence[Misfit] = ()) -> None:
        """Collect until a batch file is worth it."""
        good = without(rows, misfits)
        for start in range(0, good.num_rows, BATCH_ROWS):
            part = good.slice(start, BATCH_ROWS)
            if self._rows + part.num_rows > BATCH_ROWS or self._bytes + part.nbytes > BATCH_BYTES:
                self.flush()
            self._tables.append(part)
            self._rows += part.num_rows
            self._bytes += part.nbytes
        if misfits:
            self._records.write(rows.take([m.row for m in misfits]), renumbered(misfits))

    def flush(self) -> None:
        """Write what has been collected to a file and name it in a BATCH message."""
        if self._rows:
            batches = [batch for table in self._tables for batch in table.to_batches() if batch.num_rows]
            self._tables.clear()
            self._rows = self._bytes = 0
            self._lines.write_batch(self._stream, ENCODING, [self._writer.write(batches)])
        self._records.flush()

    def close(self) -> None:
        """Send the rest and wait until the target has taken every file."""
        self.flush()
        self._writer.close()

    def leave(self) -> None:
        """Wait until the target has taken the files that messages name; what is collected is dropped."""
        with suppress(ReaderGoneError):
            self._writer.close()

    def discard(self) -> None:
        """Delete what the target has not taken; the run has failed."""
        self._writer.discard()


def without(rows: pa.Table, misfits: Sequence[Misfit]) -> pa.Table:
    """The rows that fit."""
    if not misfits:
        return rows
    import numpy as np
    import pyarrow as pa

    keep = np.ones(rows.num_rows, dtype=bool)
    keep[[m.row for m in misfits]] = False
    return rows.filter(pa.array(keep))


def renumbered(misfits: Sequence[Misfit]) -> list[Misfit]:
    """The same misfits for a table that holds only their rows, in their order."""
    return [m._replace(row=position) for position, m in enumerate(misfits)]
