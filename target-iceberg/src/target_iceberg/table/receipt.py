"""What a snapshot says of itself, and whether it is still true of the files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyiceberg.io import FileIO
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

FILES_DIGEST = "dativo.files-digest"
RUN_ID = "dativo.run-id"
_BLOCK_BYTES = 4 << 20


class HashingStream:
    """A stream that knows the SHA-256 of what was written to it, which costs no second reading."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._digest = stream, hashlib.sha256()
        self._written = 0
        self.closed = self._is_abandoned = False

    def write(self, data: Any) -> int:
        """Write all of it."""
        self._written += len(data)
        if not self._is_abandoned:
            self._digest.update(data)
            self._stream.write(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written."""
        return self._written

    def flush(self) -> None:
        """Nothing waits here."""

    def close(self) -> None:
        """Close the stream below, once."""
        if not self.closed:
            self.closed = True
            self._stream.close()

    def abandon(self) -> None:
        """Close it; what still comes is dropped, since a writer of Parquet that is thrown away writes a footer as its last deed."""
        self._is_abandoned = True
        self.close()

    @property
    def sha256(self) -> str:
        """Hexadecimal."""
        return self._digest.hexdigest()


@dataclass
class Verification:
    """What came of comparing a snapshot with its receipt."""

    snapshot_id: int
    run_id: str | None = None
    files: int = 0
    size_bytes: int = 0
    content_rows: int | None = None
    """Rows whose digest was compared; None where no receipt holds one."""
    problems: list[str] = field(default_factory=list)


def files_digest(digests: Iterable[str]) -> str:
    """One digest for the SHA-256 of several files, whatever their order."""
    return hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


def newest_receipt(table: Table) -> int | None:
    """The newest snapshot, from the current one back, that carries a receipt with a digest."""
    snapshot = table.current_snapshot()
    while snapshot is not None:
        if snapshot.summary and FILES_DIGEST in snapshot.summary.additional_properties:
            return snapshot.snapshot_id
        parent = snapshot.parent_snapshot_id
        snapshot = None if parent is None else table.metadata.snapshot_by_id(parent)
    return None


def verify_files(table: Table, snapshot_id: int) -> Verification:
    """Read the data files that a snapshot added and compare them with its receipt."""
    found = Verification(snapshot_id)
    snapshot = table.metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        found.problems.append(f"there is no snapshot {snapshot_id}; it may have expired")
        return found
    receipt = snapshot.summary.additional_properties if snapshot.summary else {}
    found.run_id = receipt.get(RUN_ID)
    if FILES_DIGEST not in receipt:
        found.problems.append(f"snapshot {snapshot_id} carries no digest: it was not made by a publish of Dativo")
        return found
    digests = []
    for path, size in _added_files(table.io, snapshot):
        try:
            with table.io.new_input(path).open() as stream:
                digest, read = _digest(stream)
        except OSError as e:
            found.problems.append(f"{path}: cannot be read: {e.strerror or e}")
            continue
        found.files, found.size_bytes = found.files + 1, found.size_bytes + read
        digests.append(digest)
        if read != size:
            found.problems.append(f"{path}: {read:,} bytes, and the manifest says {size:,}")
    if not found.problems and files_digest(digests) != receipt[FILES_DIGEST]:
        found.problems.append(
            f"snapshot {snapshot_id}: the {found.files} files do not have the digest {receipt[FILES_DIGEST]} of its receipt: "
            "at least one was changed after it was written"
        )
    return found


def _added_files(io: FileIO, snapshot: Snapshot) -> Iterable[tuple[str, int]]:
    from pyiceberg.manifest import ManifestContent, ManifestEntryStatus

    for manifest in snapshot.manifests(io):
        if manifest.content != ManifestContent.DATA or manifest.added_snapshot_id != snapshot.snapshot_id:
            continue
        for entry in manifest.fetch_manifest_entry(io, discard_deleted=True):
            if entry.status == ManifestEntryStatus.ADDED and entry.snapshot_id == snapshot.snapshot_id:
                yield entry.data_file.file_path, int(entry.data_file.file_size_in_bytes)


def _digest(stream: IO[bytes] | Any) -> tuple[str, int]:
    digest, read = hashlib.sha256(), 0
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
        read += len(block)
    return digest.hexdigest(), read
