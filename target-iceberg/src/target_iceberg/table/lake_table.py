"""One table of a lake as commands see it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from target_iceberg.errors import TargetError
from target_iceberg.table.content import verify_content
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.receipt import Verification, newest_receipt, verify_files

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


@dataclass(frozen=True, kw_only=True)
class SnapshotInfo:
    """One snapshot of a table."""

    snapshot_id: int
    parent_id: int | None
    committed_at: dt.datetime
    operation: str
    summary: dict[str, str]
    """Iceberg's counters and the receipt (keys that start with `dativo.`)."""


@dataclass(frozen=True, kw_only=True)
class FileHealth:
    """Whether a table has become one of many small files, which every reader pays for."""

    files: int
    average_bytes: int | None
    """On disk; None where there is no file."""
    smallest_bytes: int | None
    delete_files: int
    snapshots: int


class LakeTable:
    """One table, as it stood when it was loaded."""

    def __init__(self, table: Table) -> None:
        self._table = table

    @property
    def address(self) -> str:
        """namespace.table."""
        return ".".join(self._table.name())

    @property
    def location(self) -> str:
        """Where its files lie."""
        return str(self._table.location())

    @property
    def metadata_location(self) -> str:
        """Its metadata file, for other engines."""
        return str(self._table.metadata_location)

    @property
    def properties(self) -> dict[str, str]:
        """Table properties, bookmarks included."""
        return dict(self._table.properties)

    @property
    def count(self) -> int:
        """Live rows, from the metadata; scans only where position deletes may overlap."""
        return int(self._table.scan().count())

    @property
    def partitioning(self) -> list[str]:
        """Partition fields as text."""
        schema = self._table.schema()
        return [f"{f.transform}({schema.find_column_name(f.source_id)})" for f in self._table.spec().fields]

    def schema_rows(self) -> list[dict[str, Any]]:
        """Columns: name, type, required, key, doc."""
        schema = self._table.schema()
        return [
            {
                "name": f.name,
                "type": str(f.field_type),
                "required": f.required,
                "key": f.field_id in schema.identifier_field_ids,
                "doc": f.doc,
            }
            for f in schema.fields
        ]

    def rows(self, limit: int = 10) -> pa.Table:
        """The first rows of a scan, at most `limit`."""
        with lake_errors(self.address):
            return self._table.scan(limit=limit).to_arrow()

    def snapshots(self) -> list[SnapshotInfo]:
        """All snapshots, oldest first."""
        return [_snapshot(s) for s in self._table.snapshots()]

    def current_snapshot(self) -> SnapshotInfo | None:
        """The snapshot that readers see."""
        snapshot = self._table.current_snapshot()
        return None if snapshot is None else _snapshot(snapshot)

    def verify(self, snapshot_id: int | None = None) -> Verification:
        """Compare the data files that a snapshot added, and the rows that it shows, with its receipt.

        Args:
            snapshot_id: None: the files of the newest that carries a receipt, and the rows of the current one.

        Raises:
            TargetError: the table has no receipt, or its manifests cannot be read.
        """
        with lake_errors(self.address):
            wanted = snapshot_id if snapshot_id is not None else newest_receipt(self._table)
            if wanted is None:
                raise TargetError(f"{self.address} has no snapshot with a receipt to compare with", "refused")
            found = verify_files(self._table, wanted)
            if found.problems:
                return found
            current = self._table.current_snapshot()
            shown = wanted if snapshot_id is not None or current is None else current.snapshot_id
            rows = verify_content(self._table, shown)
            if rows is not None:
                have, said = rows
                found.content_rows = have.rows
                if have != said:
                    found.problems.append(
                        f"snapshot {shown}: it shows {have.rows:,} rows with the digest {have}, and a receipt says {said.rows:,} "
                        f"rows with the digest {said}: rows were lost, added or changed after the publish"
                    )
            return found

    def file_health(self) -> FileHealth:
        """Files that the current snapshot shows, and how many snapshots there are."""
        with lake_errors(self.address):
            tasks = list(self._table.scan().plan_files())
        sizes = [int(t.file.file_size_in_bytes) for t in tasks]
        deletes = {d.file_path for t in tasks for d in t.delete_files}
        return FileHealth(
            files=len(sizes),
            average_bytes=sum(sizes) // len(sizes) if sizes else None,
            smallest_bytes=min(sizes, default=None),
            delete_files=len(deletes),
            snapshots=len(self._table.snapshots()),
        )

    def files(self) -> list[tuple[str, int, int]]:
        """Data files of the current snapshot: path, bytes, records."""
        with lake_errors(self.address):
            return [
                (t.file.file_path, t.file.file_size_in_bytes, t.file.record_count)
                for t in self._table.scan().plan_files()
            ]


def _snapshot(s: Snapshot) -> SnapshotInfo:
    when = dt.datetime.fromtimestamp(s.timestamp_ms / 1000, tz=dt.timezone.utc)
    summary = dict(s.summary.additional_properties) if s.summary else {}
    operation = s.summary.operation.value if s.summary else "unknown"
    return SnapshotInfo(
        snapshot_id=s.snapshot_id,
        parent_id=s.parent_snapshot_id,
        committed_at=when,
        operation=operation,
        summary=summary,
    )
