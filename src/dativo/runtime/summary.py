"""What a run report says in words: one line for a log, a few more for people."""

from __future__ import annotations

import datetime as dt
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from target_iceberg.run_report import RunReport, StreamReport

WORST_RULES = 5


def headline(report: RunReport) -> str:
    """One sentence: what became of the run."""
    streams = report.streams
    rejected = sum(s.rejected for s in streams)
    rejects = f", {rejected:,} rejected" if rejected else ""
    took = f" in {_seconds(report):.1f} s"
    match report.outcome:
        case "published":
            return f"{_published(streams)}{rejects}{took}"
        case "partial":
            return f"{_published(streams)}{rejects}{took}{_because(report)}"
        case "unchanged":
            return f"nothing new{took}"
        case "dry_run":
            return f"dry run: would publish {_rows(sum(s.published or s.withheld for s in streams))}{rejects}{took}"
        case "withheld":
            withheld = sum(s.withheld for s in streams)
            return f"nothing published: {rejected:,} rejected, {_rows(withheld)} withheld{took}{_because(report)}"
        case _:
            return f"failed{took}{_because(report)}"


def fields(report: RunReport) -> dict[str, Any]:
    """The report's figures for the last log event of a run."""
    failure = report.failure
    return {
        "outcome": report.outcome,
        "exit_code": report.exit_code,
        "retryable": bool(failure and failure.retryable),
        **({"failure_class": failure.failure_class} if failure else {}),
        "read": sum(s.read for s in report.streams),
        "published": sum(s.published for s in report.streams),
        "rejected": sum(s.rejected for s in report.streams),
        "superseded": sum(s.superseded for s in report.streams),
        "withheld": sum(s.withheld for s in report.streams),
        "bytes_written": sum(s.bytes_written for s in report.streams),
        "elapsed_s": round(_seconds(report), 3),
        "streams": [
            {
                "stream": s.stream,
                "table": s.table,
                "published": s.published,
                "rejected": s.rejected,
                **({"snapshot_id": s.snapshot_id} if s.snapshot_id is not None else {}),
            }
            for s in report.streams
        ],
    }


def closing(report: RunReport, job_file: str) -> list[str]:
    """What a person wants to know after the headline: schema changes, notices, broken rules and what to do about them."""
    lines = []
    for stream in report.streams:
        lines += [f"  {stream.table}: {change}" for change in stream.schema_changes]
        lines += [f"  {stream.table}: {notice}" for notice in stream.notices]
        if stream.superseded:
            lines.append(f"  {stream.table}: {_rows(stream.superseded)} gave way to a later one with the same key")
    lines += [f"  {notice}" for notice in report.notices]
    rules = sorted((r for s in report.streams for r in s.rules if r.records), key=lambda r: -r.records)
    for rule in rules[:WORST_RULES]:
        kind = "" if rule.severity == "error" else f" ({rule.severity})"
        example = f"  e.g. {rule.example}" if rule.example else ""
        lines.append(f"  {rule.records:>9,}  {rule.rule}{kind}{example}")
    if len(rules) > WORST_RULES:
        lines.append(f"             and {len(rules) - WORST_RULES} more rules")
    for table in report.rejects_tables:
        lines.append(f"  see them:     dativo table show {shlex.quote(f'{report.tenant}/{table}')}")
    if report.outcome == "withheld" and any(s.withheld for s in report.streams):
        lines.append(f"  publish the good rows all the same:  schema_validation_mode: warn  in {job_file}")
    return lines


def _published(streams: list[StreamReport]) -> str:
    """What came, and what went without anything in its place."""
    came, went = sum(s.published for s in streams), sum(map(_removed, streams))
    if not came:
        tables = ", ".join(dict.fromkeys(s.table for s in streams if s.rows_replaced))
        if went:
            return f"removed {_rows(went)} from {tables}"
        return "published no rows" if any(s.rejected for s in streams) else "nothing new"
    return f"published {_rows(came)} to {_tables(streams)}" + (f", removed {went:,}" if went else "")


def _removed(stream: StreamReport) -> int:
    """Rows that are gone for good: those that the source has deleted, or by which there are fewer than before."""
    if stream.deleted:
        return min(stream.deleted, stream.rows_replaced)
    return max(0, stream.rows_replaced - stream.published)


def _rows(n: int) -> str:
    return f"{n:,} row" if n == 1 else f"{n:,} rows"


def _tables(streams: list[StreamReport]) -> str:
    names = list(dict.fromkeys(s.table for s in streams if s.published)) or [s.table for s in streams]
    return ", ".join(names) or "no table"


def _because(report: RunReport) -> str:
    return f": {report.failure.message}" if report.failure else ""


def _seconds(report: RunReport) -> float:
    start, end = (dt.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in (report.started_at, report.ended_at))
    return max(0.0, (end - start).total_seconds())
