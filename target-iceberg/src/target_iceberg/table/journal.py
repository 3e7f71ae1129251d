"""The journal: checkpoints of what a run has staged, so that the next run goes on where a killed one stopped.

A checkpoint is one STATE and the closed files of all rows of all streams before it. It saves time; correctness never needs
it: whoever adopts one still publishes only on top of the bookmark that it started from. Because a second run may have
adopted it unseen, no run deletes a file that a checkpoint names; `dativo clean` does, once no snapshot refers to it.

Layout: <warehouse>/_dativo/<tenant>/<job>/<run id>/checkpoint.json, beside it one Iceberg manifest per stream and spec.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec
import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestEntryStatus, ManifestFile, write_manifest

from target_iceberg.load_plan import LakeCatalog, LoadPlan, StreamPlan, expand
from target_iceberg.records.rejects import RejectRow  # noqa: TC001  msgspec reads it at run time
from target_iceberg.table.bookmark import in_progress, same
from target_iceberg.table.file_io import LakeFileIO
from target_iceberg.table.lake_catalog import embedded_location, file_uri
from target_iceberg.table.writer import StagedFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pyiceberg.catalog import Catalog
    from pyiceberg.manifest import DataFile
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema

    from target_iceberg.table.bookmark import Bookmark

FOLDER = "_dativo"
MAX_AGE = dt.timedelta(hours=24)
_FILE = "checkpoint.json"
_CODE = ("dativo-target-iceberg", "pyiceberg", "pyarrow")
"""Distributions whose change may change what staged files look like."""


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What a manifest does not say of a staged file."""

    path: str
    size_bytes: int
    table_uuid: str
    column_ids: dict[str, int]
    segments: tuple[tuple[int, int], ...]
    sha256: str


class SinkCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream had counted."""

    read: int
    rejected: int
    good: int
    bytes_in: int
    by_rule: dict[str, int] = {}
    warnings: dict[str, int] = {}
    fields_dropped: dict[str, int] = {}
    rules: dict[str, tuple[str | None, str]] = {}


class StreamCheckpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One stream in a checkpoint."""

    n: int
    """n of the bookmark that the run started from."""
    steps: tuple[StreamPlan, ...]
    counts: SinkCounts
    files: tuple[FileEntry, ...] = ()
    manifests: dict[int, str] = {}
    """Partition spec -> manifest with the data files."""
    tombstones: tuple[FileEntry, ...] = ()
    """Keys of rows that the source has deleted."""
    tombstone_manifests: dict[int, str] = {}
    activated: int | None = None
    lowest_version: int | None = None
    rejects: tuple[RejectRow, ...] = ()
    source_files: tuple[str, ...] = ()


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One STATE and everything before it."""

    key: str
    commit_id: str | None = None
    """Of the publish that the run had begun; whoever adopts all of it goes on with it."""
    holder: str
    """The run that wrote or last adopted it."""
    written_at: dt.datetime
    state: dict[str, Any]
    streams: dict[str, StreamCheckpoint]


@dataclass(frozen=True)
class Found:
    """A checkpoint that may be adopted."""

    directory: str
    checkpoint: Checkpoint
    streams: frozenset[str]
    """Streams that go on from it; the others start over."""
    state: dict[str, Any]
    """What the tap has to start from."""


def key_of(plan: LoadPlan) -> str:
    """What must not have changed for a checkpoint to be adopted: the plan, the source's settings, and the programs."""
    here = msgspec.structs.replace(
        plan, catalog=LakeCatalog(kind=plan.catalog.kind, branch=plan.catalog.branch and expand(plan.catalog.branch))
    )
    digest = hashlib.sha256(msgspec.json.encode(here, order="deterministic"))
    digest.update(" ".join(f"{name}={version(name)}" for name in _CODE).encode())
    return digest.hexdigest()


class Journal:
    """The journal of one job in one lake.

    Args:
        root: URI or path of the job's folder.
        properties: of the lake catalog, for credentials.
    """

    def __init__(self, root: str, properties: Mapping[str, str]) -> None:
        self._root = root
        self.io = LakeFileIO(properties)
        scheme, netloc, self._path = PyArrowFileIO.parse_location(root, dict(properties))
        self._fs: pafs.FileSystem = self.io.fs_by_scheme(scheme, netloc)
        self._last_manifests: set[str] = set()

    def directory(self, run_id: str) -> str:
        """Where the checkpoints of a run lie."""
        return f"{self._root}/{run_id}"

    def write(self, run_id: str, checkpoint: Checkpoint) -> None:
        """Make a checkpoint the run's newest, atomically.

        Raises:
            OSError: it cannot be written.
        """
        folder = f"{self._path}/{run_id}"
        self._fs.create_dir(folder, recursive=True)
        # A rename replaces the older checkpoint at once; object stores have it as copy and delete, which is as good:
        # a file half copied is not there.
        with self._fs.open_output_stream(f"{folder}/.{_FILE}") as stream:
            stream.write(msgspec.json.encode(checkpoint))
        self._fs.move(f"{folder}/.{_FILE}", f"{folder}/{_FILE}")
        manifests = {
            path.rpartition("/")[2]
            for s in checkpoint.streams.values()
            for path in (*s.manifests.values(), *s.tombstone_manifests.values())
        }
        # Whoever reads the checkpoint before this one is not disturbed either.
        self._remove_manifests(folder, manifests | self._last_manifests)
        self._last_manifests = manifests

    def write_manifests(
        self, run_id: str, name: str, files: Iterable[DataFile], specs: Mapping[int, PartitionSpec], schema: Schema
    ) -> dict[int, str]:
        """Keep data files as Iceberg manifests; returns path by spec id.

        None replaces one that is there: a checkpoint names it until the next one is written, and a run may be killed in between.
        """
        by_spec: dict[int, list[DataFile]] = {}
        for file in files:
            by_spec.setdefault(file.spec_id, []).append(file)
        self._fs.create_dir(f"{self._path}/{run_id}", recursive=True)
        paths = {}
        for spec_id, members in by_spec.items():
            path = f"{self.directory(run_id)}/{name}-{spec_id}-{uuid.uuid4().hex[:12]}.avro"
            output = self.io.new_output(path)
            with write_manifest(2, specs[spec_id], schema, output, 0, "deflate") as writer:
                for file in members:
                    entry = ManifestEntry.from_args(
                        status=ManifestEntryStatus.ADDED,
                        snapshot_id=0,
                        sequence_number=0,
                        file_sequence_number=0,
                        data_file=file,
                    )
                    writer.add(entry)
            paths[spec_id] = path
        return paths

    def staged_files(self, entries: Iterable[FileEntry], manifests: Mapping[int, str]) -> list[StagedFile]:
        """Staged files of a checkpoint, in the order in which they were opened."""
        data_files = {f.file_path: f for spec_id, path in manifests.items() for f in self._read(spec_id, path)}
        return [
            StagedFile(
                data_file=data_files[e.path],
                table_uuid=e.table_uuid,
                column_ids=e.column_ids,
                segments=e.segments,
                sha256=e.sha256,
            )
            for e in entries
        ]

    def find(
        self, plan: LoadPlan, held: Mapping[str, Bookmark | None], lake_state: dict[str, Any], start: Any = None
    ) -> Found | None:
        """The newest checkpoint that a run of the plan may adopt now.

        Args:
            plan: of the job.
            held: the bookmarks in force.
            lake_state: Singer state that they add up to.
            start: only one that had handed out this state; a run that started meanwhile may have written a newer one.
        """
        found = [(d, c) for d, c in self._all() if c.key == key_of(plan) and _age(c) < MAX_AGE]
        for directory, checkpoint in sorted(found, key=lambda f: f[1].written_at, reverse=True):
            streams = _adoptable(plan, checkpoint, held)
            if not streams:
                continue
            handed = _handed(checkpoint, streams, plan, lake_state)
            if (start is None or same(handed, start)) and self._are_there(checkpoint, streams):
                return Found(directory, checkpoint, streams, handed)
        return None

    def remove(self, directory: str) -> None:
        """Forget the checkpoints of one run; the files that they name stay."""
        self._remove(f"{self._path}/{directory.rstrip('/').rpartition('/')[2]}")

    def remove_all(self) -> None:
        """Forget everything: the job has published."""
        self._remove(self._path)

    def remove_expired(self) -> list[str]:
        """Forget what nobody may adopt any more; returns the folders."""
        living = {d for d, c in self._all() if _age(c) < MAX_AGE}
        gone = [f for f in self._folders() if self.directory(f.rpartition("/")[2]) not in living]
        for folder in gone:
            self._remove(folder)
        return gone

    def named_files(self) -> set[str]:
        """Paths of all data files that a checkpoint which may still be adopted names."""
        living = [stream for _, c in self._all() if _age(c) < MAX_AGE for stream in c.streams.values()]
        return {f.path for stream in living for f in (*stream.files, *stream.tombstones)}

    def _all(self) -> list[tuple[str, Checkpoint]]:
        found = []
        for folder in self._folders():
            try:
                with self._fs.open_input_stream(f"{folder}/{_FILE}") as stream:
                    checkpoint = msgspec.json.decode(stream.read(), type=Checkpoint)
            except (FileNotFoundError, msgspec.DecodeError):  # killed before its first, or written by another version
                continue
            found.append((self.directory(folder.rpartition("/")[2]), checkpoint))
        return found

    def _folders(self) -> list[str]:
        selector = pafs.FileSelector(self._path, allow_not_found=True)
        return [f.path for f in self._fs.get_file_info(selector) if f.type == pafs.FileType.Directory]

    def _remove(self, folder: str) -> None:
        try:
            self._fs.delete_dir(folder)
        except FileNotFoundError:
            return

    def _remove_manifests(self, folder: str, kept: set[str]) -> None:
        for file in self._fs.get_file_info(pafs.FileSelector(folder)):
            if file.extension == "avro" and file.base_name not in kept:
                self._fs.delete_file(file.path)

    def _are_there(self, checkpoint: Checkpoint, streams: frozenset[str]) -> bool:
        wanted = [f for name in streams for s in [checkpoint.streams[name]] for f in (*s.files, *s.tombstones)]
        infos = self._fs.get_file_info([PyArrowFileIO.parse_location(f.path)[2] for f in wanted]) if wanted else []
        return all(i.size == f.size_bytes for i, f in zip(infos, wanted, strict=True))

    def _read(self, spec_id: int, path: str) -> list[DataFile]:
        manifest = ManifestFile.from_args(
            manifest_path=path,
            partition_spec_id=spec_id,
            content=ManifestContent.DATA,
            sequence_number=0,
            min_sequence_number=0,
        )
        return [e.data_file for e in manifest.fetch_manifest_entry(self.io)]


def journal_of(plan: LoadPlan, catalog: Catalog, settings: LakeCatalog) -> Journal | None:
    """The journal of a job; None where the lake catalog does not say where files may lie."""
    root = storage_root(catalog, settings)
    if root is None:
        return None
    return Journal(f"{root}/{FOLDER}/{quote(plan.tenant, safe='')}/{quote(plan.job, safe='')}", catalog.properties)


def storage_root(catalog: Catalog, settings: LakeCatalog) -> str | None:
    """Where files of a lake lie; None where its catalog does not say so."""
    if settings.kind == "embedded":
        return file_uri(embedded_location(settings) / "warehouse")
    root = catalog.properties.get("warehouse", "").rstrip("/")
    return root if "://" in root or root.startswith("/") else None


def file_entry(file: StagedFile) -> FileEntry:
    """What of a staged file its manifest does not carry."""
    return FileEntry(
        path=file.data_file.file_path,
        size_bytes=int(file.data_file.file_size_in_bytes),
        table_uuid=file.table_uuid,
        column_ids=file.column_ids,
        segments=file.segments,
        sha256=file.sha256,
    )


def _adoptable(plan: LoadPlan, checkpoint: Checkpoint, held: Mapping[str, Bookmark | None]) -> frozenset[str]:
    """Streams that a tap can go on with from the checkpoint's state, and that nobody has published since."""
    current = frozenset(name for name, c in checkpoint.streams.items() if c.n == _n(held.get(name)))
    by_name = {s.stream: s for s in plan.streams}
    bookmarks = checkpoint.state.get("bookmarks")
    if not isinstance(bookmarks, dict) or set(checkpoint.state) - {"bookmarks", "currently_syncing"}:
        # The tap keeps its state as one unit: all go on, or none.
        is_whole = all(s.resumable for s in plan.streams) and not in_progress(checkpoint.state)
        return current if is_whole and len(current) == len(checkpoint.streams) else frozenset()
    return frozenset(
        name
        for name in current
        if name in by_name and by_name[name].resumable and bookmarks.get(name) and not in_progress(bookmarks[name])
    )


def _handed(
    checkpoint: Checkpoint, streams: frozenset[str], plan: LoadPlan, lake_state: dict[str, Any]
) -> dict[str, Any]:
    """The checkpoint's state, in which streams that start over stand where the lake has them."""
    bookmarks = checkpoint.state.get("bookmarks")
    if not isinstance(bookmarks, dict):
        return checkpoint.state
    old = lake_state.get("bookmarks") or {}
    over = {s.stream for s in plan.streams} - streams
    kept = {name: b for name, b in bookmarks.items() if name not in over}
    return {**checkpoint.state, "bookmarks": {**kept, **{name: old[name] for name in over if name in old}}}


def _n(bookmark: Bookmark | None) -> int:
    return bookmark.n if bookmark else 0


def _age(checkpoint: Checkpoint) -> dt.timedelta:
    return dt.datetime.now(dt.timezone.utc) - checkpoint.written_at
