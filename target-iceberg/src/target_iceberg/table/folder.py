"""What a publish does to the objects of a folder that is a table.

Readers of plain objects know nothing of position deletes, so a file of which rows go is written anew without them.
"""

from __future__ import annotations

import itertools
import uuid
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.manifest import DataFileContent

from target_iceberg.table.files_catalog import Change, FilesCatalog, ObjectEntry
from target_iceberg.table.parquet_options import writer_options
from target_iceberg.table.receipt import HashingStream
from target_iceberg.table.rewrite import beside, kept_batches
from target_iceberg.table.writer import ROW_GROUP_BYTES, StagedFile, data_file, file_columns, statistics_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

    from target_iceberg.table.positions import Positions
    from target_iceberg.table.publisher import StreamPublish

_BATCH_ROWS = 65_536


def announce_objects(
    catalog: FilesCatalog,
    table: Table,
    streams: list[StreamPublish],
    added: list[StagedFile],
    unwanted: Positions,
    existing: Positions,
    commit_id: str,
    run_id: str,
) -> tuple[list[StagedFile], list[str]]:
    """Tell the catalog what the commit does to a table's objects.

    Args:
        catalog: that the table lies in.
        table: as the commit will make it; gives location and FileIO.
        streams: what is published.
        added: staged files of all of them.
        unwanted: rows of these that go again.
        existing: rows of the table that go.
        commit_id: of the publish.
        run_id: begins the names of files that are written anew.

    Returns:
        Files that the snapshot adds, and paths of those that it removes.
    """
    plan = streams[0].plan
    replaces_all = plan.write_mode == "replace"
    if plan.file_format != "parquet":
        objects = [o for s in streams for o in _raw(catalog, s, table, run_id)]
        change = Change(
            objects, replaces_all=replaces_all, by_name=plan.write_mode == "upsert", format=plan.file_format
        )
        catalog.announce(commit_id, change)
        return [], []
    gone = {file.file_path: positions for file, positions in unwanted.by_file}
    kept: list[StagedFile] = []
    for staged in added:
        positions = gone.get(staged.data_file.file_path)
        copy = staged if positions is None else copied_without(table, staged.data_file, positions, run_id)
        if copy is not None:
            kept.append(copy)
    removed = []
    for file, positions in existing.by_file:
        removed.append(file.file_path)
        if (copy := copied_without(table, file, positions, run_id)) is not None:
            kept.append(copy)
    root = f"{catalog.location(plan.table)}/"
    entries = [_entry(f, root) for f in kept]
    paths = frozenset(path.removeprefix(root) for path in removed)
    catalog.announce(commit_id, Change(entries, paths, replaces_all))
    return kept, removed


def copied_without(table: Table, file: DataFile, positions: np.ndarray, name: str) -> StagedFile | None:
    """A data file without some of its rows, in the same folder and partition; None when none is left.

    It is copied as it was written: readers find its columns by the field ids that they had then.

    Args:
        table: gives location and FileIO.
        file: a Parquet file of it.
        positions: of the rows to leave out.
        name: begins the new file's name.
    """
    if len(positions) >= file.record_count:
        return None
    keep = np.ones(file.record_count, dtype=bool)
    keep[positions] = False
    path = table.location_provider().new_data_location(
        f"{beside(table, file.file_path, name)}-{uuid.uuid4().hex[:12]}.parquet"
    )
    with table.io.new_input(file.file_path).open() as source, pq.ParquetFile(source) as parquet:
        schema = pyarrow_to_schema(parquet.schema_arrow)
        stream = HashingStream(table.io.new_output(path).create(overwrite=True))
        groups = _row_groups(kept_batches(parquet, keep, _BATCH_ROWS))
        first = next(groups)  # not all rows go
        options = {"store_decimal_as_integer": True, **writer_options(first)}
        with pq.ParquetWriter(stream, parquet.schema_arrow, **options) as writer:
            for rows in itertools.chain([first], groups):
                writer.write_table(rows, row_group_size=rows.num_rows)
        size = stream.tell()
        stream.close()
    copy = data_file(
        path,
        size,
        file.partition,
        file.spec_id,
        DataFileContent.DATA,
        statistics_of(writer, schema, table.metadata.properties),
        file.sort_order_id,
    )
    return StagedFile(
        data_file=copy,
        table_uuid=str(table.metadata.table_uuid),
        column_ids={},
        segments=((0, int(copy.record_count)),),
        sha256=stream.sha256,
    )


def _row_groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The same rows in tables of about ROW_GROUP_BYTES."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(b.nbytes for b in waiting) >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting)
            waiting = []
    if waiting:
        yield pa.Table.from_batches(waiting)


def _raw(catalog: FilesCatalog, s: StreamPublish, table: Table, run_id: str) -> list[ObjectEntry]:
    """Objects of a stream; made once, whatever attempt of the commit asks."""
    if s.objects is None:
        from target_iceberg.table.raw_objects import ObjectWriter

        writer = ObjectWriter(catalog.store, s.plan, run_id, file_columns(s.stage.schema))
        s.objects = writer.write(table.io, s.files, s.unwanted)
    return s.objects


def _entry(file: StagedFile, root: str) -> ObjectEntry:
    made = file.data_file
    return ObjectEntry(
        path=made.file_path.removeprefix(root),
        rows=int(made.record_count),
        bytes=int(made.file_size_in_bytes),
        sha256=file.sha256,
    )
