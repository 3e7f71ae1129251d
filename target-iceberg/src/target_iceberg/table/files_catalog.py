"""Tables that are folders of an object store: a manifest, written last and only once under its number, says what is in them.

    <root>/<table>/_latest                    names the newest manifest; a hint, so that nobody has to list
    <root>/<table>/_manifests/<n>.json        objects of the table after its n-th publish, bookmarks, receipt
    <root>/<table>/_metadata/                 the same as Iceberg metadata, for engines that read those
    <root>/<table>/<partition>/<name>.parquet

To the publisher it is an Iceberg catalog: its commit is the conditional write of manifest n + 1, which one of several writers
makes. Whoever reads the objects that a manifest lists sees one publish or the next, nothing between.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec
from pyiceberg.catalog import MetastoreCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import load_file_io
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.update import AddSnapshotUpdate

from target_iceberg.errors import TargetError
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.object_store import ObjectStore, ObjectStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableRequirement, TableUpdate

VERSION = 1
LATEST, MANIFESTS = "_latest", "_manifests"
_COMMIT_ID = "dativo.commit-id"


class ObjectEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One object of a table."""

    path: str
    """Relative to the table's folder."""
    rows: int
    bytes: int
    sha256: str
    name: str | None = None
    """What the path pattern makes of its record, where a later version of the record has another path."""


class FilesManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a table consists of after a publish."""

    version: int
    table: str
    """namespace.table"""
    n: int
    written_at: str
    format: str
    rows: int
    receipt: dict[str, str]
    """Run, commit, contract, counts: as in the snapshot's summary."""
    bookmarks: dict[str, Any]
    """<tenant>.<job>.<stream> -> what the next run of the job goes on from."""
    metadata: str
    """Iceberg metadata of the same state, relative to the table's folder."""
    objects: list[ObjectEntry]


@dataclass(frozen=True)
class Change:
    """What a commit does to the objects of a table."""

    added: list[ObjectEntry] = field(default_factory=list)
    removed: frozenset[str] = frozenset()
    """Paths of objects that are no longer part of it."""
    replaces_all: bool = False
    by_name: bool = False
    """An added object stands for the one of the same name."""
    format: str = "parquet"

    def applied(self, objects: list[ObjectEntry]) -> list[ObjectEntry]:
        """The objects afterwards."""
        if self.replaces_all:
            return self.added
        names = {o.name for o in self.added} if self.by_name else set()
        return [o for o in objects if o.path not in self.removed and o.name not in names] + self.added


class FilesCatalog(MetastoreCatalog):
    """The tables below one root; `warehouse` names it."""

    def __init__(self, name: str, **properties: str) -> None:
        super().__init__(name, **properties)
        self.root = properties["warehouse"].rstrip("/")
        self.store = ObjectStore(self.root, properties)
        self._changes: dict[str, Change] = {}

    def announce(self, commit_id: str, change: Change) -> None:
        """Say what a commit that is about to be made does to the objects; its snapshot names the id."""
        self._changes[commit_id] = change

    def location(self, table: str) -> str:
        """Where a table's folder is.

        Raises:
            TargetError: no folder can have this name.
        """
        if table in ("", ".", "..") or table.startswith("_") or "/" in table:
            raise TargetError(f"{table!r} cannot be the name of a folder of {self.root}", "configuration")
        return f"{self.root}/{table}"

    def manifest(self, table: str) -> FilesManifest | None:
        """The newest manifest of a table.

        Raises:
            TargetError: it cannot be read.
            OSError: the store does not answer, or refuses.
        """
        self.location(table)
        hint = self.store.read(f"{table}/{LATEST}")
        n, found = 0, None
        if hint is not None:
            n = int(_decoded(f"{self.root}/{table}/{LATEST}", hint, dict[str, Any])["n"])
            found = self._numbered(table, n)
            if found is None:
                raise TargetError(
                    f"{self.root}/{table}/{LATEST} names manifest {n}, which has gone; put it back, or let {LATEST} name "
                    "another one",
                    "lake",
                )
        # Whoever wrote the pointer may have been killed before, or be slower than the next.
        while (newer := self._numbered(table, n + 1)) is not None:
            n, found = n + 1, newer
        return found

    def named_paths(self, table: str) -> Iterator[str]:
        """Paths, below a table's folder, of everything that a manifest names, and of the manifests themselves.

        Raises:
            TargetError: a manifest cannot be read.
            OSError: the store does not answer, or refuses.
        """
        yield LATEST
        n = 0
        while (manifest := self._numbered(table, n := n + 1)) is not None:
            yield self._file(n)
            yield manifest.metadata
            yield from (o.path for o in manifest.objects)

    def load_table(self, identifier: str | tuple[str, ...]) -> Table:
        """As Catalog."""
        name = self.identifier_to_tuple(identifier)
        manifest = self.manifest(name[-1])
        if manifest is None:
            raise NoSuchTableError(f"no table {'.'.join(name)} in {self.root}")
        return self._table(name, manifest)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """As Catalog."""
        identifier = table.name()
        name = identifier[-1]
        head = self.manifest(name)
        current = None if head is None else self._table(identifier, head)
        staged = self._update_and_stage_table(current, identifier, requirements, updates)
        if current is not None and staged.metadata == current.metadata:
            return _response(current.metadata, current.metadata_location)
        self._write_metadata(staged.metadata, staged.io, staged.metadata_location)
        made = self._next(head, identifier, staged.metadata, staged.metadata_location, updates)
        try:
            is_ours = self.store.create(self._path(name, made.n), msgspec.json.encode(made))
        except ObjectStoreError as e:
            raise CommitStateUnknownException(str(e)) from e
        if not is_ours:
            other = self._numbered(name, made.n)
            if other is None or other.metadata != made.metadata:  # else its answer was lost, and it was asked again
                kind = TableAlreadyExistsError if head is None else CommitFailedException
                raise kind(f"{'.'.join(identifier)}: manifest {made.n} was written by another process")
        with contextlib.suppress(OSError):  # readers look for newer ones all the same
            self.store.write(f"{name}/{LATEST}", msgspec.json.encode({"n": made.n, "manifest": self._file(made.n)}))
        return _response(staged.metadata, staged.metadata_location)

    def _next(
        self,
        head: FilesManifest | None,
        identifier: tuple[str, ...],
        metadata: TableMetadata,
        location: str,
        updates: tuple[TableUpdate, ...],
    ) -> FilesManifest:
        snapshots = [u.snapshot for u in updates if isinstance(u, AddSnapshotUpdate)]
        summary = snapshots[-1].summary if snapshots else None
        said = dict(summary.additional_properties) if summary else {}
        change = self._changes.pop(said.get(_COMMIT_ID, ""), Change(format=head.format if head else "parquet"))
        objects = change.applied(head.objects if head else [])
        prefix = bookmarks.PREFIX
        held = {k.removeprefix(prefix): v for k, v in metadata.properties.items() if k.startswith(prefix)}
        return FilesManifest(
            version=VERSION,
            table=".".join(identifier),
            n=head.n + 1 if head else 1,
            written_at=dt.datetime.now(tz=dt.timezone.utc).isoformat(timespec="seconds"),
            format=change.format,
            rows=sum(o.rows for o in objects),
            receipt={k: v for k, v in said.items() if not k.startswith(bookmarks.SUMMARY_PREFIX)},
            bookmarks={k: msgspec.to_builtins(bookmarks.decode(v)) for k, v in held.items()},
            metadata=location.removeprefix(f"{self.location(identifier[-1])}/"),
            objects=objects,
        )

    def _table(self, identifier: tuple[str, ...], manifest: FilesManifest) -> Table:
        if manifest.table != ".".join(identifier):
            raise TargetError(
                f"{self.root}/{identifier[-1]} is the table {manifest.table} and not {'.'.join(identifier)}; name another "
                "table with target.table, or another prefix",
                "refused",
            )
        location = f"{self.location(identifier[-1])}/{manifest.metadata}"
        io = load_file_io(dict(self.properties), location)
        metadata = FromInputFile.table_metadata(io.new_input(location))
        return Table(identifier, metadata, location, io, self)

    def _numbered(self, table: str, n: int) -> FilesManifest | None:
        path = self._path(table, n)
        data = self.store.read(path)
        return None if data is None else _decoded(f"{self.root}/{path}", data, FilesManifest)

    def _path(self, table: str, n: int) -> str:
        return f"{table}/{self._file(n)}"

    @staticmethod
    def _file(n: int) -> str:
        return f"{MANIFESTS}/{n:012d}.json"

    # -- namespaces are part of a table's name here, and nothing of their own ----------------------------------------------

    def list_tables(self, namespace: str | tuple[str, ...]) -> list[tuple[str, ...]]:
        """As Catalog."""
        wanted = self.identifier_to_tuple(namespace)
        return [t for t in self._all() if t[:-1] == wanted]

    def list_namespaces(self, namespace: str | tuple[str, ...] = ()) -> list[tuple[str, ...]]:
        """As Catalog."""
        return [] if namespace else sorted({t[:-1] for t in self._all()})

    def _all(self) -> list[tuple[str, ...]]:
        found = (self.manifest(f) for f in self.store.folders() if not f.startswith("_"))
        return [tuple(m.table.split(".")) for m in found if m is not None]

    def create_namespace(self, namespace: str | tuple[str, ...], properties: Any = None) -> None:
        """As Catalog; there is nothing to make."""

    def load_namespace_properties(self, namespace: str | tuple[str, ...]) -> dict[str, str]:  # noqa: ARG002
        """As Catalog; none has any."""
        return {}

    def list_views(self, namespace: str | tuple[str, ...]) -> list[tuple[str, ...]]:  # noqa: ARG002
        """As Catalog; there are none."""
        return []

    def view_exists(self, identifier: str | tuple[str, ...]) -> bool:  # noqa: ARG002
        """As Catalog; there are none."""
        return False

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"{self.root} takes tables from target-files alone")

    create_table = register_table = drop_table = rename_table = _refuse
    drop_namespace = update_namespace_properties = _refuse
    load_view = register_view = drop_view = _refuse


def _response(metadata: TableMetadata, location: str) -> CommitTableResponse:
    return CommitTableResponse.model_validate({"metadata": metadata, "metadata-location": location})


def _decoded(place: str, data: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.DecodeError as e:
        raise TargetError(f"{place} is no manifest of this version: {e}", "lake") from e
