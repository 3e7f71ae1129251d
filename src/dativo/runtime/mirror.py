"""state/<tenant>/<job>/state.json: where a job stands, for people; nothing reads it back, the lake is what counts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from dativo.lower.emit import write_atomic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from dativo.runtime.execution import PreparedJob
    from target_iceberg.run_report import RunReport


def path_of(job: ResolvedJob, root: Path) -> Path:
    """File of the mirror: the job's `state_path` below the project, else state/<tenant>/<job>/state.json."""
    named = job.state_path
    if named is None:
        return root / "state" / job.tenant / job.name / "state.json"
    for container_root in ("/app/", "/workspace/", "/"):
        if named.startswith(container_root):
            named = named.removeprefix(container_root)
            break
    return root / named.replace("{tenant}", job.tenant).replace("{tenant_id}", job.tenant)


def read(file: Path) -> dict[str, Any]:
    """What the mirror says; {} when there is none or it is no JSON object."""
    try:
        content = json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def refresh(prepared: PreparedJob, report: RunReport, root: Path) -> None:
    """Bring the mirror up to what a run reported."""
    file = path_of(prepared.job, root)
    content = read(file)
    if report.outcome in ("published", "partial", "unchanged"):
        content.pop("last_error", None)
        cursors = {o.name: o.cursor_field for o in prepared.job.source.objects}
        for stream in report.streams:
            content.update(entries(stream.stream, stream.bookmark_after, report.ended_at, cursors.get(stream.stream)))
    if report.failure is not None:
        content["last_error"] = {
            "at": report.ended_at,
            "run_id": report.run_id,
            "class": report.failure.failure_class,
            "message": report.failure.message,
        }
    write_atomic(file, json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def forget(job: ResolvedJob, root: Path, streams: Sequence[str] | None) -> None:
    """Take out what a reset has made untrue: of some streams their cursors, of all of them (None) the files too."""
    file = path_of(job, root)
    content = read(file)
    gone = ("object_", "file_") if streams is None else tuple(f"object_{s}" for s in streams)
    kept = {k: v for k, v in content.items() if not (k.startswith(gone) if streams is None else k in gone)}
    if kept != content:
        write_atomic(file, json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def entries(stream: str, bookmark: Any, at: str, cursor_field: str | None) -> dict[str, Any]:
    """A stream's bookmark in the mirror's words: object_<name> with its cursor, file_<path> for each file."""
    own = _own_part(stream, bookmark)
    if own is None:
        return {}
    files: Mapping[str, Any] = own.get("files", {})
    mirrored: dict[str, Any] = {}
    for path, known in files.items():
        mirrored[f"file_{path}"] = {"last_modified": known.get("modified")} | (
            {"missing": True} if known.get("missing") else {}
        )
    cursor = own.get("replication_key_value")
    field = own.get("replication_key", cursor_field)
    mirrored[f"object_{stream}"] = {"last_sync": at} | (
        {"cursor": cursor, "cursor_field": field} if cursor is not None else {}
    )
    return mirrored


def _own_part(stream: str, bookmark: Any) -> dict[str, Any] | None:
    """The stream's part, whether it comes as a whole Singer state, as the lake keeps it, or alone."""
    if isinstance(bookmark, dict) and "bookmarks" in bookmark:
        bookmark = bookmark["bookmarks"].get(stream)
    elif isinstance(bookmark, dict) and "bookmark" in bookmark:
        bookmark = bookmark["bookmark"]
    return bookmark if isinstance(bookmark, dict) else None
