"""Rows that the source has no more: their keys are not among those that the tap lists (DATIVO_KEYS).

What is found is staged like deletions that the tap names one by one, in the order of the input: rows of the table and rows that this
run has staged before.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from singer_arrow import open_batch, remove
from target_iceberg.errors import TargetError
from target_iceberg.load_plan import DELETED_AT
from target_iceberg.records.decode import Decoder
from target_iceberg.records.mask import Masker
from target_iceberg.singer.log import event
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.key_index import KeyIndex
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.positions import Positions
from target_iceberg.table.stage import CREATED_BY, address
from target_iceberg.table.tombstones import UNPARTITIONED, deletes_by_key
from target_iceberg.table.unlisted import rows_at, unlisted_positions, unlisted_rows
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from target_iceberg.singer.messages import Keys
    from target_iceberg.singer.run import Run
    from target_iceberg.singer.stream import StreamSink
    from target_iceberg.table.unlisted import Range

_FILE_BYTES = 128 << 20


def take_keys(run: Run, sink: StreamSink, message: Keys) -> None:
    """Take what a message says of a stream's keys.

    Raises:
        TargetError: rows of this table may not be deleted so, or the keys cannot be read.
    """
    if sink.keys is None:
        owner = (run.plan.tenant, run.plan.job) if run.plan else ("-", "-")
        sink.keys = KeyListing(sink, run.run_id, owner)
    sink.keys.take(message)


class KeyListing:
    """The keys that the source of one stream has, as they come.

    Args:
        sink: of the stream.
        run_id: begins the names of files.
        owner: tenant and job, whose bookmarks in the table are the stream's own.
    """

    def __init__(self, sink: StreamSink, run_id: str, owner: tuple[str, str]) -> None:
        self._sink, self._run_id, self._owner = sink, run_id, owner
        self._writer: DataFileWriter | None = None

    def take(self, message: Keys) -> None:
        """Take some keys; when the list is complete, stage the deletions of what it does not name.

        Raises:
            TargetError: rows of this table may not be deleted so, or the keys cannot be read.
        """
        if self._sink.withheld:  # nothing is published, whatever else comes
            for uri in message.manifest:
                remove(uri)
            return
        self._refuse()
        if message.begin:
            self.discard()
        with lake_errors(address(self._sink.plan)):
            for uri in message.manifest:
                with open_batch(uri) as reader:
                    for batch in reader:
                        self._write(pa.Table.from_batches([batch]))
                remove(uri)
            if message.ranges is not None:
                n = self._conclude(message.ranges)
                shown = address(self._sink.plan)
                event(
                    "rows_vanished",
                    f"{shown}: {n:,} rows are not in the source any more",
                    stream=message.stream,
                    rows=n,
                )

    def discard(self) -> None:
        """Delete the files with keys."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None

    def _refuse(self) -> None:
        """A list of keys says of every row of the table whether it lives, so the rows must be of this source alone."""
        plan, loaded = self._sink.plan, self._sink.stage.loaded
        where = address(plan)
        if not deletes_by_key(plan):
            raise TargetError(
                f"{where}: rows that are gone are found by their key; use write_mode upsert and a key", "refused"
            )
        if not any(c.name == DELETED_AT for c in plan.columns):
            raise TargetError(f"stream {plan.stream}: keys came, and its SCHEMA has no {DELETED_AT}", "source")
        if loaded is None:
            return
        properties = loaded.metadata.properties
        own = bookmarks.property_name(*self._owner, plan.stream)
        others = sorted(
            p.removeprefix(bookmarks.PREFIX)
            for p in properties
            if p.startswith(bookmarks.PREFIX) and p not in (own, f"{own}__replay")
        )
        if others:
            raise TargetError(
                f"{where}: has rows of {', '.join(others)} too, which would be taken for deleted; give each stream a table of its own",
                "refused",
            )
        if properties.get(CREATED_BY) != "dativo" and not plan.adopt:
            raise TargetError(
                f"{where}: Dativo did not make this table, and rows that are not in the source would be deleted; set target.adopt: true "
                "in the job to allow it",
                "refused",
            )

    def _write(self, keys: pa.Table) -> None:
        plan, stage = self._sink.plan, self._sink.stage
        columns = tuple(c for c in plan.columns if c.name in plan.key)
        alone = msgspec.structs.replace(plan, columns=columns, rules=(), record_metadata=False, ingest_date=False)
        if self._writer is None:
            self._writer = DataFileWriter(
                stage.table, stage.schema.select(*plan.key), UNPARTITIONED, _FILE_BYTES, f"{self._run_id}-keys"
            )
        decoded = Decoder(alone).decode_table(keys.select(list(plan.key))).table
        self._writer.write(Masker(alone, self._sink.mask_key).masked(decoded))

    def _conclude(self, ranges: Sequence[Range]) -> int:
        plan, stage, io = self._sink.plan, self._sink.stage, self._sink.stage.table.io
        ids = [stage.schema.find_field(k).field_id for k in plan.key]
        staged = self._sink.finish()  # before further rows are staged
        files = self._writer.close() if self._writer is not None else []
        listed = KeyIndex(io, files, ids, plan.key) if files else None
        n = 0
        try:
            # Those of the table first: where a row was staged, too, the staged one is the later.
            if stage.loaded is not None:
                n += self._stage(unlisted_rows(stage.loaded, plan.key, listed, ranges), stage.loaded.schema())
            found, data_files = Positions(), [f.data_file for f in staged]
            for file, positions in zip(
                data_files, unlisted_positions(io, data_files, ids, listed, ranges), strict=True
            ):
                found.add(file, positions)
            n += self._stage(found, stage.schema)
        finally:
            if listed is not None:
                listed.close()
            self.discard()
        return n

    def _stage(self, gone: Positions, schema: Any) -> int:
        sink, n = self._sink, 0
        for rows in self._marked(gone, schema):
            sink.counts.read += rows.num_rows
            sink.counts.good += rows.num_rows
            sink.stage_rows(rows)
            n += rows.num_rows
        return n

    def _marked(self, gone: Positions, schema: Any) -> Iterator[pa.Table]:
        """Rows with the time of their deletion: their keys, where nothing else of them stays."""
        plan = self._sink.plan
        now = pa.scalar(dt.datetime.now(dt.timezone.utc), pa.timestamp("us", "UTC"))
        wanted = schema.select(*plan.key) if plan.hard_delete else schema
        for file, positions in gone.by_file:
            for rows in rows_at(self._sink.stage.table.io, wanted, file.file_path, positions):
                if DELETED_AT in rows.column_names:
                    alive = rows.filter(pc.is_null(rows[DELETED_AT])).drop_columns([DELETED_AT])
                else:
                    alive = rows
                if alive.num_rows:
                    yield alive.append_column(DELETED_AT, pa.repeat(now, alive.num_rows))
