"""Run reports: what `dativo run` adds to the target's, what it says when there is none, and which are kept."""

from __future__ import annotations

import datetime as dt
import signal
from typing import TYPE_CHECKING

import msgspec

from target_iceberg import run_report
from target_iceberg.run_report import Failure, RunReport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dativo.runtime.relay import Relay
    from target_iceberg.errors import TargetError
    from target_iceberg.load_plan import LoadPlan
    from target_iceberg.run_report import FailureClass

KEPT = 100


def path_of(runs: Path, run_id: str) -> Path:
    """File of one report."""
    return runs / f"{run_id}.json"


def read(file: Path) -> RunReport | None:
    """The report, None when there is none that can be read."""
    try:
        return run_report.read(file)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def newest_first(runs: Path) -> Iterator[RunReport]:
    """All readable reports; names are UUIDv7 and sort by time."""
    for file in sorted(runs.glob("*.json"), reverse=True):
        if report := read(file):
            yield report


def prune(runs: Path) -> None:
    """Keep the last hundred."""
    for file in sorted(runs.glob("*.json"))[:-KEPT]:
        file.unlink(missing_ok=True)


def failed(
    plan: LoadPlan,
    run_id: str,
    started_at: str,
    failure_class: FailureClass,
    message: str,
    *,
    retryable: bool = False,
    dry_run: bool = False,
) -> RunReport:
    """Report of a run whose target could not write one."""
    return RunReport(
        run_id=run_id,
        tenant=plan.tenant,
        job=plan.job,
        outcome="failed",
        started_at=started_at,
        ended_at=now(),
        dry_run=dry_run,
        failure=Failure(failure_class=failure_class, message=message, retryable=retryable),
    )


def refused(plan: LoadPlan, run_id: str, started_at: str, why: TargetError, *, dry_run: bool) -> RunReport:
    """Report of a run that the lake did not let begin."""
    return failed(plan, run_id, started_at, why.failure_class, str(why), retryable=why.retryable, dry_run=dry_run)


def mark_interrupted(report: RunReport, signal_number: int) -> None:
    """Say that a signal was the reason, whatever else broke because of it."""
    name = signal.Signals(signal_number).name
    report.failure = Failure(failure_class="interrupted", message=f"stopped by {name}; nothing was published")


def complete(
    report: RunReport | None,
    relay: Relay,
    *,
    plan: LoadPlan,
    run_id: str,
    started_at: str,
    meltano_exit_code: int,
    dry_run: bool,
) -> RunReport:
    """The target's report with what only the parent knows: how tap and Meltano ended."""
    reason = relay.reason()
    tap_code = relay.exit_codes.get("extractors", 0)
    if report is None:
        target_code = relay.exit_codes.get("loaders", 0)
        if target_code < 0:
            name = signal.Signals(-target_code).name
            message = f"the target was killed by {name}; nothing was published, run again"
            report = failed(plan, run_id, started_at, "interrupted", message, retryable=True, dry_run=dry_run)
        else:
            why = f"; {reason}" if reason else ""
            message = f"the target left no report (Meltano ended with {meltano_exit_code}){why}"
            report = failed(plan, run_id, started_at, "internal", message, dry_run=dry_run)
    report.started_at = min(report.started_at, started_at)
    report.ended_at = max(report.ended_at, now())
    if report.failure is not None and report.failure.failure_class == "incomplete" and (tap_code or reason):
        how = f"the tap failed with exit code {tap_code}" if tap_code else "the tap did not finish"
        report.failure.failure_class = "source"
        report.failure.message = f"{how}; {reason or 'it gave no reason'}; nothing was published"
    return report


def now() -> str:
    """RFC 3339, UTC, milliseconds."""
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
