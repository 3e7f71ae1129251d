"""One execution of the engine: from a configuration and an input to an outcome and a run report."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any

from target_iceberg import load_plan, run_report
from target_iceberg.errors import InterruptedRun, PartialPublishError, TargetError
from target_iceberg.run_report import Failure, RunReport, now
from target_iceberg.singer.ending import Ending
from target_iceberg.singer.log import event, is_for_programs
from target_iceberg.stages import passing

if TYPE_CHECKING:
    from target_iceberg.load_plan import LoadPlan
    from target_iceberg.singer.ledger import Ledger
    from target_iceberg.singer.run import Run
    from target_iceberg.singer.settings import Settings


def execute(settings: Settings, source: IO[Any], ledger: Ledger) -> dict[str, int]:
    """Run the engine on an input; the report says how it ended, whatever happens.

    Returns:
        Messages read, by kind: records, schemas, states, batches.

    Raises:
        TargetError: nothing, or less than all, was published.
        InterruptedRun: a signal ended the run.
    """
    from target_iceberg.singer.framing import read_blocks
    from target_iceberg.singer.run import Run

    plan = _plan(settings)
    run = Run(settings, plan, ledger)
    report = _begin(run, plan)
    ending = Ending(run, report)
    try:
        passing("start")
        run.read(read_blocks(source))
        _require_end(run)
        passing("end")
        report.outcome, report.failure = ending.conclude(), None
        if not report.dry_run:
            passing("before_state")
            ledger.release()
            passing("after_state")
    except TargetError as e:
        if isinstance(e, PartialPublishError) or ending.has_published:
            report.outcome = "partial"
        elif e.failure_class == "violations":
            report.outcome = "withheld"
        report.failure = Failure(failure_class=e.failure_class, message=str(e), retryable=e.retryable)
        if plan is None and e.failure_class == "violations" and _broken_key(run):
            from target_iceberg.singer.sdk_errors import BrokenKeyError

            raise BrokenKeyError(str(e), e.failure_class) from e
        raise
    except InterruptedRun as e:
        if ending.outcome is not None:  # all was published before the signal came
            report.outcome, report.failure = ending.outcome, None
            ledger.release()
        else:
            report.outcome = "partial" if ending.has_published else "failed"
            report.failure = Failure(failure_class="interrupted", message=str(e), retryable=ending.has_published)
            raise
    finally:
        run.close()
        ending.clean_up()
        if not is_for_programs():
            ending.say_what_was_set_aside()
        report.run_id, report.ended_at = run.run_id, now()
        if plan is not None:
            passing("before_report")
            _leave(report, plan)
            passing("after_report")
    return run.line_counts


def _begin(run: Run, plan: LoadPlan | None) -> RunReport:
    """The report of a run that has not got anywhere yet; whatever ends it leaves a report behind."""
    report = RunReport(
        run_id=run.run_id,
        tenant=plan.tenant if plan else None,
        job=plan.job if plan else None,
        outcome="failed",
        started_at=now(),
        ended_at="",
        dry_run=run.dry_run,
    )
    message = "the target ended unexpectedly; its last messages say why"
    report.failure = Failure(failure_class="internal", message=message)
    return report


def _leave(report: RunReport, plan: LoadPlan) -> None:
    """Write the report; the lake is what counts, so a report that cannot be written does not change how the run ends."""
    path = load_plan.project_root() / plan.state_dir / "runs" / f"{report.run_id}.json"
    try:
        run_report.write(report, path)
    except OSError as e:
        event("report_not_written", f"{path}: the run report cannot be written: {e.strerror}", level="warning")


def _require_end(run: Run) -> None:
    """End of file is not success: Meltano closes the pipe of a tap that failed just as that of one that finished."""
    if run.ended or run.stopped_early or (run.plan is None and not run.is_launched):
        return
    raise TargetError(
        "the tap did not finish: its end mark is missing, so it failed or was killed; nothing was published. Its own "
        "messages above say why; run again when that is mended",
        "incomplete",
    )


def _plan(settings: Settings) -> LoadPlan | None:
    try:
        return load_plan.read(settings.load_plan) if settings.load_plan else None
    except load_plan.LoadPlanError as e:
        raise TargetError(str(e), "configuration") from e


def _broken_key(run: Run) -> bool:
    return any(r.kind == "not_null" and r.column in s.plan.key for s in run.sinks.values() for r in s.rejects)
