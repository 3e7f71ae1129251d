"""One snapshot with everything a publish changes: rows added, rows deleted by position, or all earlier files dropped.

Built on PyIceberg's snapshot machinery, which has the append; position deletes and their manifests are ours
(Iceberg specification v2, "Position Delete Files").
"""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pyiceberg.manifest import (
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    ManifestWriterV2,
)
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update.snapshot import _FastAppendFiles

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Transaction


class _DeleteManifestWriter(ManifestWriterV2):
    def content(self) -> ManifestContent:
        return ManifestContent.DELETES

    @property
    def _meta(self) -> dict[str, str]:
        return {**super()._meta, "content": "deletes"}


class RowDelta(_FastAppendFiles):
    """Adds data files and position delete files, removes data files, or replaces all files, in one snapshot.

    Args:
        transaction: of the table, at the head that the deletes were computed on.
        replace_all: drop every earlier data and delete file.
        snapshot_properties: the receipt.
    """

    def __init__(
        self,
        transaction: Transaction,
        io: Any,
        *,
        replace_all: bool,
        overwrite: bool,
        snapshot_properties: dict[str, str],
    ) -> None:
        super().__init__(
            operation=Operation.OVERWRITE if overwrite else Operation.APPEND,
            transaction=transaction,
            io=io,
            snapshot_properties=snapshot_properties,
        )
        self._replace_all = replace_all
        self._position_deletes: list[DataFile] = []
        self._removed: set[str] = set()

    @property
    def sequence_number(self) -> int:
        """Sequence number that the snapshot will have."""
        return self._transaction.table_metadata.next_sequence_number()

    def add_position_deletes(self, file: DataFile) -> None:
        """Add a delete file; its spec and partition are those of the data files that it covers."""
        self._position_deletes.append(file)

    def remove(self, path: str) -> None:
        """Let a data file be part of the table no longer; others have those of its rows that stay."""
        self._removed.add(path)

    def _existing_manifests(self) -> list[ManifestFile]:
        head = self._head()
        if self._replace_all or head is None:
            return []
        # The fast append of PyIceberg drops manifests without live entries; a delete manifest always counts as live.
        living = [
            m
            for m in head.manifests(io=self._io)
            if m.content == ManifestContent.DELETES or m.has_added_files() or m.has_existing_files()
        ]
        return [m for old in living for m in self._without_removed(old)]

    @cached_property
    def _touched(self) -> dict[str, list[ManifestEntry]]:
        """Path of each data manifest of the head that names removed files -> all its live entries."""
        head, found = self._head(), {}
        if not self._removed or head is None:
            return {}
        for m in head.manifests(io=self._io):
            if m.content == ManifestContent.DATA:
                entries = m.fetch_manifest_entry(io=self._io, discard_deleted=True)
                if any(e.data_file.file_path in self._removed for e in entries):
                    found[m.manifest_path] = entries
        return found

    def _without_removed(self, manifest: ManifestFile) -> list[ManifestFile]:
        """A manifest as it is if it names none of the removed files, else one of its others, if there are any."""
        entries = self._touched.get(manifest.manifest_path)
        if entries is None:
            return [manifest]
        kept = [e for e in entries if e.data_file.file_path not in self._removed]
        if not kept:
            return []
        with self.new_manifest_writer(self.spec(manifest.partition_spec_id)) as writer:
            for entry in kept:
                writer.add_entry(self._as(ManifestEntryStatus.EXISTING, entry))
        return [writer.to_manifest_file()]

    def _deleted_entries(self) -> list[ManifestEntry]:
        head = self._head()
        if head is None:
            return []
        if not self._replace_all:
            return self._removed_entries()
        live = [
            (m.content, e)
            for m in head.manifests(io=self._io)
            for e in m.fetch_manifest_entry(io=self._io, discard_deleted=True)
        ]
        # Delete files go with the data they cover: counted in the summary, but they need no entry of their own.
        self._deleted_data_files = {e.data_file for _, e in live}
        return [self._as(ManifestEntryStatus.DELETED, e) for content, e in live if content == ManifestContent.DATA]

    def _removed_entries(self) -> list[ManifestEntry]:
        gone = [e for entries in self._touched.values() for e in entries if e.data_file.file_path in self._removed]
        self._deleted_data_files = {e.data_file for e in gone}
        return [self._as(ManifestEntryStatus.DELETED, e) for e in gone]

    def _build_delete_files_partition_predicate(self) -> None:
        """Nothing to prune: a replace drops all files whatever their partition."""

    def _as(self, status: ManifestEntryStatus, entry: ManifestEntry) -> ManifestEntry:
        return ManifestEntry.from_args(
            status=status,
            snapshot_id=self._snapshot_id if status == ManifestEntryStatus.DELETED else entry.snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=entry.data_file,
        )

    def _head(self) -> Any:
        return (
            None
            if self._parent_snapshot_id is None
            else self._transaction.table_metadata.snapshot_by_id(self._parent_snapshot_id)
        )

    def _process_manifests(self, manifests: list[ManifestFile]) -> list[ManifestFile]:
        by_spec: dict[int, list[DataFile]] = defaultdict(list)
        for file in self._position_deletes:
            by_spec[file.spec_id].append(file)
        return [self._delete_manifest(spec_id, files) for spec_id, files in sorted(by_spec.items())] + manifests

    def _delete_manifest(self, spec_id: int, files: list[DataFile]) -> ManifestFile:
        with _DeleteManifestWriter(
            self.spec(spec_id), self.schema(), self.new_manifest_output(), self._snapshot_id, self._compression
        ) as writer:
            for file in files:
                assert file.content == DataFileContent.POSITION_DELETES
                writer.add(
                    ManifestEntry.from_args(
                        status=ManifestEntryStatus.ADDED,
                        snapshot_id=self._snapshot_id,
                        sequence_number=None,
                        file_sequence_number=None,
                        data_file=file,
                    )
                )
        return writer.to_manifest_file()

    def _summary(self, snapshot_properties: dict[str, str] | None = None) -> Any:
        # PyIceberg sums what it knows of: delete files count as added files with their own counters.
        data_files = self._added_data_files
        self._added_data_files = [*data_files, *self._position_deletes]
        try:
            return super()._summary(snapshot_properties or {})
        finally:
            self._added_data_files = data_files
