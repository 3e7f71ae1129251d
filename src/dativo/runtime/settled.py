"""What the lake says of a run whose target left no report: killed behind its publish, it has published all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_iceberg.errors import TargetError
from target_iceberg.run_report import Failure, RunReport, StreamReport

if TYPE_CHECKING:
    from target_iceberg.load_plan import LoadPlan


def report_from_lake(plan: LoadPlan, run_id: str, started_at: str, ended_at: str) -> RunReport | None:
    """The report of a run by the bookmarks that it left; None when it left none, or the lake cannot be asked.

    Args:
        plan: with a lake catalog in which nothing is left to expand.
        run_id: of the run.
        started_at: RFC 3339, UTC.
        ended_at: RFC 3339, UTC.
    """
    from target_iceberg.lake import bookmarks_of

    try:
        held = bookmarks_of(plan)
    except TargetError:
        return None
    mine = {name: b for name, b in held.items() if b is not None and b.run_id == run_id}
    if not mine:
        return None
    report = RunReport(
        run_id=run_id, tenant=plan.tenant, job=plan.job, outcome="published", started_at=started_at, ended_at=ended_at
    )
    report.notices = [
        "the target was killed behind its publish: counts are not known, the lake says what was published"
    ]
    for stream in plan.streams:
        if (mark := mine.get(stream.stream)) is None:
            continue
        own = (mark.state or {}).get("bookmark")
        report.commit_id = mark.commit_id
        report.streams.append(
            StreamReport(
                stream=stream.stream,
                table=".".join((*stream.namespace, stream.table)),
                write_mode=stream.write_mode,
                snapshot_id=mark.snapshot_id,
                bookmark_n=mark.n,
                bookmark_after=own,
            )
        )
    missing = sorted(set(held) - set(mine))
    if missing:
        report.outcome = "partial"
        message = f"the target was killed between publishes; run again to complete {', '.join(missing)}"
        report.failure = Failure(failure_class="interrupted", message=message, retryable=True)
    return report
