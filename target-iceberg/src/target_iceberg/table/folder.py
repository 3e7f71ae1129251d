"""What a publish does to the objects of a folder that is a table.

Readers of plain objects know nothing of position deletes, so a file of which rows go is written anew without them.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    pyarrow_to_schema,
)
from pyiceberg.manifest import DataFileContent

from target_iceberg.table.deletes import Positions
from target_iceberg.table.files_catalog import Change, FilesCatalog, ObjectEntry
from target_iceberg.table.parquet_options import writer_options
from target_iceberg.table.receipt import HashingStream
from target_iceberg.table.rewrite import beside
from target_iceberg.table.transaction import staged_table
from target_iceberg.table.writer import ROW_GROUP_BYTES, StagedFile, data_file, file_columns

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table, Transaction

    from target_iceberg.table.publisher import StreamPublish

_BATCH_ROWS = 65_536


def announce_objects(
    catalog: FilesCatalog,
    transaction: Transaction,
    streams: list[StreamPublish],
    added: list[StagedFile],
    existing: Positions,
    commit_id: str,
    run_id: str,
) -> tuple[list[StagedFile], list[str]]:
    """Tell the catalog what the commit does to a table's objects.

    Args:
        catalog: that the table lies in.
        transaction: of the commit.
        streams: what is published.
        added: staged files of all of them.
        existing: rows of the table that go.
        commit_id: of the publish.
        run_id: begins the names of files that are written anew.

    Returns:
        Files that the snapshot adds, and paths of those that it removes.
    """
    plan = streams[0].plan
    unwanted = Positions([p for s in streams for p in s.unwanted.by_file])
    table = staged_table(transaction)
    if plan.file_format != "parquet":
        objects = [o for s in streams for o in _raw(catalog, s, table, run_id)]
        by_name = plan.write_mode == "upsert"
        catalog.announce(
            commit_id, Change(objects, frozenset(), plan.write_mode == "replace", by_name, plan.file_format)
        )
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
    catalog.announce(commit_id, Change(entries, paths, plan.write_mode == "replace"))
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
        writer, waiting, start = None, list[pa.RecordBatch](), 0
        for batch in parquet.iter_batches(_BATCH_ROWS):
            waiting.append(batch.filter(pa.array(keep[start : start + batch.num_rows])))
            start += batch.num_rows
            if sum(b.nbytes for b in waiting) < ROW_GROUP_BYTES and start < file.record_count:
                continue
            rows = pa.Table.from_batches(waiting, parquet.schema_arrow)
            waiting = []
            if writer is None:
                writer = pq.ParquetWriter(
                    stream, parquet.schema_arrow, store_decimal_as_integer=True, **writer_options(rows)
                )
            writer.write_table(rows, row_group_size=max(1, rows.num_rows))
        assert writer is not None  # it has rows
        writer.close()
        size = stream.tell()
        stream.close()
    statistics = data_file_statistics_from_parquet_metadata(
        writer.writer.metadata,
        compute_statistics_plan(schema, table.metadata.properties),
        parquet_path_to_id_mapping(schema),
    )
    copy = data_file(
        path,
        size,
        file.partition,
        file.spec_id,
        DataFileContent.DATA,
        statistics.to_serialized_dict(),
        file.sort_order_id,
    )
    return StagedFile(
        data_file=copy,
        table_uuid=str(table.metadata.table_uuid),
        column_ids={},
        segments=((0, int(copy.record_count)),),
        sha256=stream.sha256,
    )


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
