"""Where a job stands, from the files of an embedded lake alone: no PyIceberg, a few milliseconds.

Loading PyIceberg to be told "as you left it" would take most of a run that finds nothing new. Whatever is not plainly as
the job's last publish left it is not judged here: `state_at_a_glance` answers None, and `lake.preflight` looks properly.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import DELETED_AT, LoadPlanError, expand, project_root
from target_iceberg.table import bookmark as bookmarks

if TYPE_CHECKING:
    from target_iceberg.load_plan import Column, LoadPlan, StreamPlan
    from target_iceberg.table.bookmark import Bookmark

STATE_FILE_ENV = "DATIVO_STATE_FILE"
"""Environment variable with a file or FIFO with {"state": {...}} or {"error": "..."}: `dativo run` has read the lake already, while
Meltano started, and hands the state to Meltano's state backend."""
LAKE_STATE = "lake_state.json"
"""Beside it: the state, if it is the lake's own."""
_POINTER = """
    SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
"""
_FILE = "file://"


def state_at_a_glance(plan: LoadPlan) -> dict[str, Any] | None:
    """The Singer state of a job whose tables are as its last publish left them; None when that is not certain.

    Certain means, for every stream: the table's schema is the plan's, the bookmark's snapshot is the current one, and
    the bookmark belongs to this source. `lake.preflight` would then answer the same state and no changes.
    """
    try:
        database = _catalog(plan)
        if database is None:
            return None
        held: dict[str, Bookmark | None] = {s.stream: _bookmark(plan, s, database) for s in plan.streams}
        if any(b is None for b in held.values()):
            return None
        return bookmarks.merge_states(held, resume_from_oldest=all(s.write_mode == "upsert" for s in plan.streams))
    except (OSError, ValueError, KeyError, TypeError, sqlite3.Error, msgspec.DecodeError, TargetError, LoadPlanError):
        return None  # whatever it is, preflight says it in the right words


def is_new_at_a_glance(plan: LoadPlan) -> bool:
    """Whether it is certain that no table of a job is there, nor anything that a killed run has left.

    `lake.preflight` would then have nothing to say against the run.
    """
    if "warehouse" in plan.catalog.properties:
        return False
    try:
        database = _catalog(plan)
        if database is None:
            return False
        return not database.exists() or all(_pointer(plan, s, database) is None for s in plan.streams)
    except (OSError, ValueError, sqlite3.Error, TargetError, LoadPlanError):
        return False


def holds_state(plan: LoadPlan, state: dict[str, Any]) -> bool:
    """Whether it is certain that the lake holds this state, and that no checkpoint goes with it."""
    found = _told() or state_at_a_glance(plan)
    return found is not None and bookmarks.same(found, state)


def _told() -> dict[str, Any] | None:
    """The state as whoever started the run has read it from the lake."""
    answered = os.environ.get(STATE_FILE_ENV)
    if answered is None:
        return None
    try:
        state = json.loads(Path(answered).with_name(LAKE_STATE).read_bytes())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def _catalog(plan: LoadPlan) -> Path | None:
    """Where the catalog's file lies, of a lake that a glance can judge: an embedded one in which no killed run has left anything."""
    if plan.catalog.kind != "embedded" or plan.catalog.path is None:
        return None
    directory = project_root() / expand(plan.catalog.path)
    return None if _has_journal(plan, directory) else directory / "catalog.db"


def _has_journal(plan: LoadPlan, directory: Path) -> bool:
    """A run may have left a checkpoint, from whose state the next one goes on (see `table.journal`)."""
    return (directory / "warehouse/_dativo" / quote(plan.tenant, safe="") / quote(plan.job, safe="")).exists()


def _bookmark(plan: LoadPlan, stream: StreamPlan, database: Path) -> Bookmark | None:
    if stream.write_mode == "replace":
        return None
    metadata = _metadata(plan, stream, database)
    if metadata is None or not _is_as_planned(stream, metadata):
        return None
    text = metadata["properties"].get(bookmarks.property_name(plan.tenant, plan.job, stream.stream))
    bookmark = bookmarks.decode(text) if text else None
    if bookmark is None or bookmark.state is None or bookmark.fingerprint != stream.fingerprint:
        return None
    return bookmark if bookmark.snapshot_id == metadata.get("current-snapshot-id") else None


def _metadata(plan: LoadPlan, stream: StreamPlan, database: Path) -> dict[str, Any] | None:
    """Current metadata of the table, as the catalog's pointer names it."""
    pointer = _pointer(plan, stream, database)
    if pointer is None:
        return None
    with open(pointer.removeprefix(_FILE), "rb") as file:  # noqa: PTH123  text of the catalog, spelled as it stands
        metadata: dict[str, Any] = json.load(file)
    return metadata


def _pointer(plan: LoadPlan, stream: StreamPlan, database: Path) -> str | None:
    """Where the catalog says that the table's metadata lies; None where it has no such table."""
    with contextlib.closing(sqlite3.connect(f"{_FILE}{quote(str(database))}?mode=ro", uri=True)) as connection:
        key = (plan.catalog.name, ".".join(stream.namespace), stream.table)
        row = connection.execute(_POINTER, key).fetchone()
    return None if row is None else str(row[0])


def _is_as_planned(stream: StreamPlan, metadata: dict[str, Any]) -> bool:
    schema = next(s for s in metadata["schemas"] if s["schema-id"] == metadata["current-schema-id"])
    there = {f["name"]: (f["type"], f["required"]) for f in schema["fields"]}
    wanted = {c.name: (_type(c), c.required) for c in stream.columns}
    if there.get(DELETED_AT) == ("timestamptz", False):  # which a tap may announce beyond the contract
        wanted.setdefault(DELETED_AT, there[DELETED_AT])
    return there == wanted


def _type(column: Column) -> str:
    """As metadata spells it; of nested columns something that metadata never says, so that they are not judged here."""
    return "?" if column.fields else column.type.replace(",", ", ").replace(",  ", ", ")
