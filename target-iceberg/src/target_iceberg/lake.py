"""The lake as commands see it: tables, snapshots, bookmarks, checks before a run, orphans.

The only public door to catalogs and tables. Importing it loads PyIceberg, so commands import it when they need it.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyiceberg.io import load_file_io

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table import evolve
from target_iceberg.table.bookmark import Bookmark
from target_iceberg.table.journal import FOLDER, journal_of, storage_root
from target_iceberg.table.lake_catalog import lake_errors, load_table, open_catalog, warehouse_of
from target_iceberg.table.lake_table import FileHealth, LakeTable, SnapshotInfo
from target_iceberg.table.orphans import Orphans, find_orphans
from target_iceberg.table.receipt import Verification
from target_iceberg.table.rejects_table import rejects_plan
from target_iceberg.table.rejects_view import Reject, rejects_of
from target_iceberg.table.reset import reset_bookmark
from target_iceberg.table.stage import Lakehouse, address, has_rows, read_bookmarks, refuse_write_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pyiceberg.catalog import Catalog

    from target_iceberg.load_plan import LakeCatalog, LoadPlan
    from target_iceberg.singer.replay import Replayed

__all__ = [
    "Bookmark",
    "FileHealth",
    "Lake",
    "LakeTable",
    "Orphans",
    "Preflight",
    "Reject",
    "RetryableError",
    "SnapshotInfo",
    "TargetError",
    "Verification",
    "bookmarks_of",
    "clean",
    "open_lake",
    "preflight",
    "probe_storage",
    "rejects",
    "replay",
    "reset",
    "state_of",
]


class Lake:
    """An open lake catalog."""

    def __init__(self, catalog: Catalog | None, settings: LakeCatalog) -> None:
        self._catalog, self._settings = catalog, settings

    def list_tables(self) -> list[str]:
        """Addresses of all tables, sorted."""
        if self._catalog is None:
            return []
        with lake_errors(f"lake catalog {self._settings.name}"):
            found: list[str] = []
            pending = list(self._catalog.list_namespaces())
            while pending:
                namespace = pending.pop()
                found += [".".join(t) for t in self._catalog.list_tables(namespace)]
                pending += [n for n in self._catalog.list_namespaces(namespace) if len(n) > len(namespace)]
            return sorted(set(found))

    def table(self, table_address: str) -> LakeTable | None:
        """The table at `namespace.table`, or None."""
        if self._catalog is None or "." not in table_address:
            return None
        *namespace, name = table_address.split(".")
        with lake_errors(table_address):
            table = load_table(self._catalog, tuple(namespace), name)
        return None if table is None else LakeTable(table)


def open_lake(settings: LakeCatalog, *, create: bool = False) -> Lake:
    """Open a lake catalog; an embedded one that does not exist yet is empty, and made only when `create` is set.

    Raises:
        TargetError: it cannot be reached or read.
    """
    return Lake(open_catalog(settings, create=create), settings)


def probe_storage(settings: LakeCatalog) -> str | None:
    """Write, read and delete a small object where the tables' files lie; returns the place, None if there is none yet.

    Raises:
        TargetError: one of the three is refused, or the catalog cannot be reached.
    """
    catalog = open_catalog(settings, create=False)
    return None if catalog is None else _probe(catalog, settings)


def _probe(catalog: Catalog, settings: LakeCatalog) -> str | None:
    root = warehouse_of(settings) if settings.kind == "embedded" else storage_root(catalog, settings)
    if root is None:
        return None
    place = f"{root}/{FOLDER}/probe-{uuid.uuid4().hex}"
    with lake_errors(root):
        io = load_file_io(dict(catalog.properties), place)
        with io.new_output(place).create() as stream:
            stream.write(b"probe")
        try:
            with io.new_input(place).open() as written:
                if written.read() != b"probe":
                    raise TargetError(f"{root}: what was written there is read otherwise", "storage")
        finally:
            io.delete(place)
    return root


@dataclass(frozen=True)
class Preflight:
    """What is known of a job's tables before it starts."""

    state: dict[str, Any]
    """The Singer state to start the tap from: that of a checkpoint which a killed run has left, else the lake's; {} for
    all."""
    bookmarks: dict[str, Bookmark | None]
    changes: dict[str, list[str]] = field(default_factory=dict)
    """Schema changes that the run would apply, per table address, as diff lines."""
    is_checkpoint: bool = False
    """The state is that of a checkpoint, and the run has rows that are staged already."""
    new: list[str] = field(default_factory=list)
    """Streams whose tables have no rows yet."""
    warnings: list[str] = field(default_factory=list)
    """What will stop the run later unless somebody mends it."""


def _lakehouse(plan: LoadPlan, *, create: bool) -> Lakehouse | None:
    catalog = open_catalog(plan.catalog, create=create)
    return None if catalog is None else Lakehouse(catalog, plan.catalog, plan.tenant, plan.job)


def bookmarks_of(plan: LoadPlan) -> dict[str, Bookmark | None]:
    """The bookmark in force of each stream of a job.

    Raises:
        TargetError: the lake cannot be read, or a table was rolled back behind every receipt.
    """
    lake = _lakehouse(plan, create=False)
    return dict.fromkeys((s.stream for s in plan.streams), None) if lake is None else read_bookmarks(lake, plan)


def state_of(plan: LoadPlan, held: dict[str, Bookmark | None] | None = None) -> dict[str, Any]:
    """The Singer state that the bookmarks of a job add up to.

    Raises:
        TargetError: as `bookmarks_of`, or the tap's state is one unit and the tables stand at different runs.
    """
    if held is None:
        held = bookmarks_of(plan)
    return bookmarks.merge_states(
        held, resume_from_oldest=all(s.write_mode in ("upsert", "replace") for s in plan.streams)
    )


def preflight(plan: LoadPlan) -> Preflight:
    """Check the tables of a job against its contracts and read its state, before anything is extracted.

    Raises:
        TargetError: lake out of reach, a table differs from its contract (with a diff), or the write mode is refused.
    """
    lake = _lakehouse(plan, create=True)
    assert lake is not None
    held: dict[str, Bookmark | None] = {}
    changes: dict[str, list[str]] = {}
    new: list[str] = []
    for stream in plan.streams:
        with lake_errors(address(stream)):
            table = lake.load(stream)
            if table is None or not has_rows(table.metadata):
                new.append(stream.stream)
            if table is None:
                held[stream.stream] = None
                continue
            held[stream.stream] = lake.bookmark(table.metadata, stream.stream)
            refuse_write_mode(lake, stream, table.metadata, held[stream.stream])
            if found := evolve.refuse_or_list(stream, table.metadata):
                changes[address(stream)] = found
    warnings = _storage_warnings(lake)
    is_replaced = all(s.write_mode == "replace" for s in plan.streams)
    if is_replaced and not any(s.resumable for s in plan.streams):
        return Preflight(state={}, bookmarks=held, changes=changes, new=new, warnings=warnings)
    # What replaces everything begins anew, unless it goes on from a load that was killed.
    state = {} if is_replaced else state_of(plan, held)
    with lake_errors("the journal"):
        journal = journal_of(plan, lake.catalog, lake.settings)
        checkpoint = None if journal is None else journal.find(plan, held, state)
    if checkpoint is None:
        return Preflight(state=state, bookmarks=held, changes=changes, new=new, warnings=warnings)
    return Preflight(
        state=checkpoint.state, bookmarks=held, changes=changes, new=new, warnings=warnings, is_checkpoint=True
    )


def _storage_warnings(lake: Lakehouse) -> list[str]:
    """Whether an object can be written where the files go, where that is another system."""
    if lake.settings.kind == "embedded" and "warehouse" not in lake.settings.properties:
        return []
    try:
        _probe(lake.catalog, lake.settings)
    except TargetError as e:
        return [str(e)]
    return []


def reset(plan: LoadPlan, stream: str | None = None) -> dict[str, Bookmark | None]:
    """Forget the bookmark of one stream or of all; each is a commit. None: there was nothing to forget.

    Raises:
        TargetError: the lake cannot be written.
        KeyError: the job has no such stream.
    """
    wanted = [s for s in plan.streams if stream in (None, s.stream)]
    if not wanted:
        raise KeyError(stream)
    lake = _lakehouse(plan, create=False)
    if lake is None:
        return dict.fromkeys((s.stream for s in wanted), None)
    commit_id = run_id = uuid.uuid4().hex
    done: dict[str, Bookmark | None] = {}
    for s in wanted:
        with lake_errors(address(s)):
            done[s.stream] = reset_bookmark(lake, s, commit_id, run_id)
    return done


def rejects(plan: LoadPlan, stream: str | None = None) -> Iterator[Reject]:
    """Rejects of a job, stream by stream, oldest first.

    Raises:
        TargetError: the lake cannot be read.
    """
    lake = _lakehouse(plan, create=False)
    if lake is None:
        return
    for s in plan.streams:
        if stream in (None, s.stream):
            yield from rejects_of(lake, s)


def replay(
    plan: LoadPlan,
    wanted: Callable[[Reject], bool],
    corrections: Mapping[str, Mapping[str, Any]],
    *,
    mask_key: bytes | None = None,
    dry_run: bool = False,
) -> Iterator[Replayed]:
    """Judge open rejects again and publish those that now keep the contract, stream by stream.

    Args:
        plan: of the job.
        wanted: which of the open rejects.
        corrections: reject id -> fields that replace those of the record.
        mask_key: key of columns that are hashed.
        dry_run: publish nothing.

    Raises:
        TargetError: the lake cannot be read or written.
        RetryableError: a run or another replay published meanwhile.
    """
    from target_iceberg.singer.replay import replay_stream

    lake = _lakehouse(plan, create=False)
    if lake is None:
        return
    for s in plan.streams:
        yield replay_stream(lake, s, wanted, corrections, mask_key, dry_run=dry_run)


def clean(plan: LoadPlan, *, older_than_s: float, delete: bool) -> list[Orphans]:
    """Files below the tables of a job that no snapshot refers to: left by runs that were killed.

    Args:
        plan: the job.
        older_than_s: younger files are left alone, they may belong to a run that is going on.
        delete: delete them; otherwise they are only listed.

    Raises:
        TargetError: the lake cannot be read or written.
    """
    lake = _lakehouse(plan, create=False)
    if lake is None:
        return []
    if plan.catalog.kind == "nessie":
        return _clean_branches(lake, delete=delete)
    found = []
    with lake_errors("the journal"):
        journal = journal_of(plan, lake.catalog, lake.settings)
        if journal is not None and delete:
            journal.remove_expired()
        wanted = frozenset() if journal is None else frozenset(journal.named_files())
    for stream in (s for one in plan.streams for s in (one, rejects_plan(one))):
        with lake_errors(address(stream)):
            found.append(find_orphans(lake, stream, older_than_s=older_than_s, delete=delete, wanted=wanted))
    return [o for o in found if o.paths]


def _clean_branches(lake: Lakehouse, *, delete: bool) -> list[Orphans]:
    """Branches that killed runs have left. Files are not looked at: any branch, tag or commit may refer to them, which
    nessie-gc finds out."""
    from target_iceberg.table.nessie import NessieCatalog
    from target_iceberg.table.one_step import abandoned_branches

    catalog = lake.catalog
    assert isinstance(catalog, NessieCatalog)
    with lake_errors(f"Nessie {catalog.server}"):
        branches = abandoned_branches(catalog, dt.datetime.now(tz=dt.timezone.utc))
        for branch in branches if delete else ():
            catalog.delete_branch(branch)
    names = [f"branch {b.name} of {catalog.server}" for b in branches]
    return [Orphans("branches", names, 0, delete)] if names else []
