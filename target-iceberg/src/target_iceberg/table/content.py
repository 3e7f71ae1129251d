"""The digest of the rows of a table in a snapshot's receipt: kept up by what a publish adds and takes away, and recomputed.

Unlike the digest of files it stands when another program writes the same rows into other files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFileContent
from pyiceberg.table.snapshots import Operation

from target_iceberg.errors import TargetError
from target_iceberg.records.content_digest import ContentDigest, RowHasher, parse
from target_iceberg.table.positions import Positions, deleted_positions
from target_iceberg.table.rewrite import kept_batches

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.snapshots import Snapshot

CONTENT_DIGEST = "dativo.content-digest"
_BATCH_ROWS = 65_536


def digest_after(
    before: Table | None,
    schema: Schema,
    io: FileIO,
    added: Iterable[DataFile],
    unwanted: Positions,
    removed: Positions,
) -> ContentDigest:
    """The digest of a table after a change, from its digest before or, where it has none, from all of its rows.

    Args:
        before: the table that is changed; None where none of its rows stay.
        schema: of the table after the change.
        io: reads its files.
        added: data files of the change.
        unwanted: rows of them that are deleted again by the same change.
        removed: rows of the table that the change deletes.

    Raises:
        TargetError: the table has deletes that name no positions.
        OSError: a file cannot be read.
    """
    with RowHasher(_ids(schema)) as hasher:
        total = ContentDigest() if before is None else _known(before, schema)
        if total is None:
            assert before is not None
            total = _live(before, before.current_snapshot(), hasher)
        without = {f.file_path: positions for f, positions in unwanted.by_file}
        for file in added:
            total += _rows(io, file.file_path, hasher, without=without.get(file.file_path))
        for file, positions in removed.by_file:
            total -= _rows(io, file.file_path, hasher, only=positions)
    return total


def verify_content(table: Table, snapshot_id: int) -> tuple[ContentDigest, ContentDigest] | None:
    """(digest of the rows that a snapshot shows, the one that they should have); None where no receipt says it.

    Raises:
        TargetError: the table has deletes that name no positions.
        OSError: a file cannot be read.
    """
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    wanted = _receipt(table.metadata, snapshot)
    if snapshot is None or wanted is None:
        return None
    schema = next((s for s in table.metadata.schemas if s.schema_id == snapshot.schema_id), table.schema())
    with RowHasher(_ids(schema)) as hasher:
        return _live(table, snapshot, hasher), wanted


def content_of(table: Table) -> dict[str, str]:
    """The digest in the receipt of the current snapshot, if there is one, for the next one, which changes no row."""
    digest = _receipt(table.metadata, table.current_snapshot())
    return {} if digest is None else {CONTENT_DIGEST: str(digest)}


def _ids(schema: Schema) -> set[int]:
    return set(schema._lazy_id_to_name)  # noqa: SLF001  the only listing that has the ids of nested fields too


def _known(table: Table, schema: Schema) -> ContentDigest | None:
    """What the receipt of the current snapshot says, unless a column has gone since, of which it counts the values."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return ContentDigest()
    then = next((s for s in table.metadata.schemas if s.schema_id == snapshot.schema_id), None)
    if then is None or not _ids(then) <= _ids(schema):
        return None
    return _receipt(table.metadata, snapshot)


def _receipt(metadata: TableMetadata, snapshot: Snapshot | None) -> ContentDigest | None:
    """The digest that holds for a snapshot: its own, or that of the one before if it has only written rows anew."""
    while snapshot is not None and snapshot.summary is not None:
        text = snapshot.summary.additional_properties.get(CONTENT_DIGEST)
        if text is not None:
            return parse(text)
        if snapshot.summary.operation != Operation.REPLACE or snapshot.parent_snapshot_id is None:
            return None
        snapshot = metadata.snapshot_by_id(snapshot.parent_snapshot_id)
    return None


def _live(table: Table, snapshot: Snapshot | None, hasher: RowHasher) -> ContentDigest:
    total = ContentDigest()
    if snapshot is None:
        return total
    for task in table.scan(snapshot_id=snapshot.snapshot_id).plan_files():
        if any(d.content != DataFileContent.POSITION_DELETES for d in task.delete_files):
            raise TargetError(
                f"table {'.'.join(table.name())} carries equality deletes of another engine, of which no content digest can "
                "be made; compact it there first",
                "refused",
            )
        path = task.file.file_path
        gone = deleted_positions(table.io, path, task.delete_files)
        total += _rows(table.io, path, hasher, without=gone if len(gone) else None)
    return total


def _rows(
    io: FileIO,
    path: str,
    hasher: RowHasher,
    *,
    only: np.ndarray | None = None,
    without: np.ndarray | None = None,
) -> ContentDigest:
    """Of the rows of a file, of some of them, or of all others."""
    total = ContentDigest()
    with io.new_input(path).open() as stream, pq.ParquetFile(stream) as parquet:
        keep: Any = None
        if only is not None or without is not None:
            keep = np.full(parquet.metadata.num_rows, only is None)
            keep[only if only is not None else without] = only is not None
        for batch in kept_batches(parquet, keep, _BATCH_ROWS):
            total += hasher.digest(batch)
    return total
