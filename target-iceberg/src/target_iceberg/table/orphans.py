"""Files below a table's location that no snapshot of it refers to."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.fs as pafs
from pyiceberg.io.pyarrow import PyArrowFileIO

from target_iceberg.errors import TargetError
from target_iceberg.table.file_io import LakeFileIO
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    from collections.abc import Collection

    from pyiceberg.table import Table

    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.stage import Lakehouse


@dataclass(frozen=True)
class Orphans:
    """Unreferenced files of one table."""

    table: str
    paths: list[str]
    size_bytes: int
    deleted: bool


def find_orphans(
    lake: Lakehouse, plan: StreamPlan, *, older_than_s: float, delete: bool, wanted: Collection[str] = ()
) -> Orphans:
    """List, and delete if asked, files that no snapshot, manifest or metadata log of the table names.

    Args:
        lake: where the table lies.
        plan: of one of its streams.
        older_than_s: younger files are left alone.
        delete: delete them; otherwise they are only listed.
        wanted: locations of files that a run may still publish.

    Only where one catalog alone knows the files: elsewhere a branch, a tag or another catalog may refer to one.

    Raises:
        TargetError: others may refer to the files.
        OSError: the store does not answer, or refuses.
    """
    if lake.settings.kind not in ("embedded", "files"):
        raise TargetError(
            f"{address(plan)}: cleaning is only for embedded lakes and for folders of files; use the catalog's own garbage "
            "collection",
            "refused",
        )
    location = lake.location(plan)
    scheme, netloc, path = PyArrowFileIO.parse_location(location)
    store = LakeFileIO(lake.catalog.properties).fs_by_scheme(scheme, netloc)
    before = dt.datetime.now(tz=dt.timezone.utc) - dt.timedelta(seconds=older_than_s)
    listed = store.get_file_info(pafs.FileSelector(path, recursive=True, allow_not_found=True))
    old = [f for f in listed if f.type == pafs.FileType.File and f.mtime < before]
    if not old:
        return Orphans(address(plan), [], 0, delete)
    table = lake.load(plan)
    referenced = set() if table is None else _referenced(table)
    if lake.settings.kind == "files":
        catalog: Any = lake.catalog
        referenced |= {f"{path}/{p}" for p in catalog.named_paths(plan.table)}
    referenced |= {PyArrowFileIO.parse_location(p)[2] for p in wanted}
    found = [f for f in old if f.path not in referenced]
    if delete:
        for f in found:
            store.delete_file(f.path)
    return Orphans(address(plan), sorted(f.path for f in found), sum(f.size for f in found), delete)


def _referenced(table: Table) -> set[str]:
    """Paths of everything that the table's metadata names, in any snapshot."""
    metadata: Any = table.metadata
    paths = {table.metadata_location, *(m.metadata_file for m in metadata.metadata_log)}
    for snapshot in metadata.snapshots:
        paths.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            paths.add(manifest.manifest_path)
            # Deleted entries too: an older snapshot of this loop may still read them.
            paths |= {e.data_file.file_path for e in manifest.fetch_manifest_entry(table.io, discard_deleted=False)}
    return {PyArrowFileIO.parse_location(p)[2] for p in paths}
