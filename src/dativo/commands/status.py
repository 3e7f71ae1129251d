"""`dativo status`: per job the last run, its result, rows, rejects, bookmark and freshness."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click

from dativo.commands.output import print_json, print_table
from dativo.runtime import mirror, run_report

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from target_iceberg.run_report import RunReport

_GOOD = ("published", "unchanged", "partial")


def status(paths: Sequence[Path], *, tenant: str | None, job: str | None, output_format: str) -> int:
    """Print one line per job, from run reports and mirrors alone: no lake is opened, so it is fast for any number."""
    from dativo.commands.loading import load_or_tell

    loaded = load_or_tell(paths, tenant=tenant, job=job)
    rows = [job_status(item, loaded.root) for item in loaded.jobs]
    if output_format == "json":
        print_json(rows)
        return 0
    now = dt.datetime.now(dt.timezone.utc)
    print_table(None, [_line(row, now) for row in rows])
    for row in rows:
        if row["error"]:
            click.echo(f"{row['job']}: {row['error']}")
    return 0


def job_status(job: ResolvedJob, root: Path) -> dict[str, Any]:
    """What is known of one job."""
    runs = root / "state" / job.tenant / job.name / "runs"
    reports = run_report.newest_first(runs)
    last = next(reports, None)
    good = (
        last if last is not None and last.outcome in _GOOD else next((r for r in reports if r.outcome in _GOOD), None)
    )
    return {
        "job": f"{job.tenant}/{job.name}",
        "run_id": last.run_id if last else None,
        "last_run": last.started_at if last else None,
        "result": last.outcome if last else None,
        "published": sum(s.published for s in last.streams) if last else None,
        "rejected": sum(s.rejected for s in last.streams) if last else None,
        "bookmark": _bookmark(job, root),
        "fresh_as_of": good.ended_at if good else None,
        "error": _error(last),
    }


def _error(last: RunReport | None) -> str | None:
    return last.failure.message if last is not None and last.failure is not None else None


def _bookmark(job: ResolvedJob, root: Path) -> str | None:
    content = mirror.read(mirror.path_of(job, root))
    cursors = [f"{k.removeprefix('object_')}: {v['cursor']}" for k, v in content.items() if _has(v, "cursor")]
    files = [v for k, v in content.items() if k.startswith("file_") and _has(v, "last_modified")]
    if files:
        newest = max(str(v["last_modified"]) for v in files)
        cursors.append(f"{len(files)} {'file' if len(files) == 1 else 'files'}, newest {newest}")
    return "; ".join(cursors) or None


def _has(value: object, key: str) -> bool:
    return isinstance(value, dict) and value.get(key) is not None


def _line(row: dict[str, Any], now: dt.datetime) -> dict[str, Any]:
    fresh = row["fresh_as_of"]
    return {
        "job": row["job"],
        "last run": row["last_run"][:19].replace("T", " ") if row["last_run"] else "never",
        "result": row["result"],
        "rows": row["published"],
        "rejected": row["rejected"],
        "bookmark": row["bookmark"],
        "fresh": age(now - dt.datetime.fromisoformat(fresh.replace("Z", "+00:00"))) if fresh else None,
    }


def age(difference: dt.timedelta) -> str:
    """A duration in its largest unit: 5 min ago."""
    seconds = max(0, int(difference.total_seconds()))
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
