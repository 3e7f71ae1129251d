"""A run that found nothing new, reported without opening the lake."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_iceberg.run_report import StreamReport

if TYPE_CHECKING:
    from target_iceberg.singer.run import Run


def is_idle(run: Run) -> bool:
    """No record came, no bookmark moved, and nothing is to be replaced: there is nothing to publish or to refuse."""
    replaces = run.plan is not None and any(s.write_mode == "replace" for s in run.plan.streams)
    return not run.sinks and not replaces


def idle_reports(run: Run) -> list[StreamReport]:
    """Reports of streams of which only the SCHEMA came."""
    reports = []
    for stream, announced in run.announced.items():
        plan, own = announced.plan, run.start_of(stream).get("bookmark")
        address = ".".join((*plan.namespace, plan.table))
        reports.append(
            StreamReport(
                stream=stream, table=address, write_mode=plan.write_mode, bookmark_before=own, bookmark_after=own
            )
        )
    return reports
