"""How a run is brought to its end: published once or in rounds, reported, and rid of what it no longer needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_iceberg.errors import TargetError
from target_iceberg.run_report import merged
from target_iceberg.singer import idle
from target_iceberg.singer.log import event

if TYPE_CHECKING:
    from target_iceberg.run_report import FailureClass, Outcome, RunReport, StreamReport
    from target_iceberg.singer.finish import Finish
    from target_iceberg.singer.run import Run

_START_OVER: frozenset[FailureClass] = frozenset({"violations", "configuration", "evolution", "refused"})
"""Failures after which somebody changes something, so that nothing of what was staged may be gone on from."""


class Ending:
    """The publishes of one run and what they add up to."""

    def __init__(self, run: Run, report: RunReport) -> None:
        self._run, self._report = run, report
        self._finish: Finish | None = None
        self._rounds: dict[str, list[StreamReport]] = {}
        self._outcomes: list[Outcome] = []
        if not report.dry_run:
            run.publish_now = self._publish_round

    @property
    def outcome(self) -> Outcome | None:
        """How the run ended, once everything that was to be published is."""
        return None if self._finish is None else self._finish.outcome

    @property
    def has_published(self) -> bool:
        """At least one table is published."""
        return "published" in self._outcomes or (self._finish is not None and self._finish.has_published)

    def conclude(self) -> Outcome:
        """Publish what may be published; loads the libraries for it only when there is something.

        Raises:
            TargetError: nothing (more) could be published.
        """
        run, report = self._run, self._report
        run.open_streams_with_news()
        if idle.is_idle(run):
            return "dry_run" if report.dry_run else self._all("unchanged")
        from target_iceberg.singer.finish import Finish

        self._finish = Finish(run, report, dry_run=report.dry_run)
        return self._all(self._finish.conclude())

    def _publish_round(self) -> None:
        from target_iceberg.singer.finish import Finish

        self._finish = Finish(self._run, self._report, dry_run=False)
        self._outcomes.append(self._finish.conclude())
        for name, stream_report in self._finish.reports.items():
            self._rounds.setdefault(name, []).append(stream_report)
        self._run.ledger.release()
        self._run.next_round(self._finish.bookmarks)
        self._finish = None

    def _all(self, last: Outcome) -> Outcome:
        """The outcome of all rounds together."""
        outcomes = [*self._outcomes, last]
        return next((o for o in ("partial", "published") if o in outcomes), last)

    def clean_up(self) -> None:
        """Complete the report, remove staged files where no commit was attempted, and checkpoints that are of no use.

        What cannot be removed is found by `dativo clean`.
        """
        self._report_unplanned()
        outcome = self._report.outcome
        if self._finish is None and self._run.sinks:
            from target_iceberg.singer.finish import Finish

            self._finish = Finish(self._run, self._report, dry_run=self._report.dry_run)
            self._finish.abandon()
        elif self._finish is not None and (
            outcome in ("failed", "withheld", "dry_run") or self._finish.outcome is None
        ):
            self._finish.settle()
        self._assemble()
        try:
            if outcome in ("failed", "withheld", "dry_run"):
                self._discard()
        except TargetError as e:
            event("staged_files_left", f"staged files could not be removed: {e}", level="warning")
        failure = self._report.failure
        if self._run.checkpoints is not None and (failure is None or failure.failure_class in _START_OVER):
            self._run.checkpoints.forget()

    def say_what_was_set_aside(self) -> None:
        """Tell a person of rejects and notices; `dativo run` says the same of the run report."""
        for stream in self._report.streams:
            if stream.rejected:
                worst = [f"{r.rule} {r.records} times ({r.example})" for r in stream.rules if r.severity == "error"]
                said = f"{stream.table}: {stream.rejected} of {stream.read} records rejected: {', '.join(worst[:3])}"
                event("rejected", said, level="warning", stream=stream.stream)
            for notice in stream.notices:
                event("notice", f"{stream.table}: {notice}", level="warning", stream=stream.stream)
        for table in self._report.rejects_tables:
            event("rejects_table", f"rejected records are in {table}", level="warning", table=table)
        for notice in self._report.notices:
            event("notice", notice, level="warning")

    def _report_unplanned(self) -> None:
        """Say which streams were dropped because the plan does not know them."""
        for stream, rows in self._run.unplanned.items():
            message = f"stream {stream} is not in the load plan: {rows} records dropped"
            event("stream_dropped", message, level="warning", stream=stream, records=rows)

    def _discard(self) -> None:
        if self._finish is not None:
            self._finish.discard()
        else:
            for sink in self._run.sinks.values():
                sink.discard()

    def _assemble(self) -> None:
        run, report = self._run, self._report
        rounds = {name: list(reports) for name, reports in self._rounds.items()}
        for name, last in ({} if self._finish is None else self._finish.reports).items():
            rounds.setdefault(name, []).append(last)
        idle_streams = [r for r in idle.idle_reports(run) if r.stream not in rounds]
        report.streams = [*(merged(reports) for reports in rounds.values()), *idle_streams]
        report.notices = list(dict.fromkeys([*report.notices, *run.notices]))
