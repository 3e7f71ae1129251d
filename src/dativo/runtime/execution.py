"""One run of one job, from its lock to its report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dativo.errors import DativoError
from dativo.lower.load_plan import notices
from dativo.runtime import mirror, private_project, run_report
from dativo.runtime.lake_access import plan_here
from dativo.runtime.locks import job_lock
from dativo.runtime.plugins import how_to_install, is_installed
from dativo.runtime.preflight import STATE_ORIGIN, STATE_ORIGIN_ENV, PreflightCheck
from dativo.runtime.private_directory import SPILL, private_directory
from dativo.runtime.relay import Relay
from dativo.runtime.settled import report_from_lake
from target_iceberg import run_report as reports
from target_iceberg.glance import STATE_FILE_ENV
from target_iceberg.run_report import new_run_id

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from dativo.runtime.environment import JobEnvironment
    from dativo.runtime.process import Meltano
    from dativo.runtime.runlog import JobLog, RunLog
    from target_iceberg.errors import TargetError
    from target_iceberg.load_plan import LoadPlan
    from target_iceberg.run_report import RunReport


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedJob:
    """A job with everything looked up; nothing of it can fail any more for reasons of configuration."""

    job: ResolvedJob
    plan: LoadPlan
    singer_catalog: dict[str, Any]
    environment: JobEnvironment

    @property
    def label(self) -> str:
        """tenant/job."""
        return f"{self.job.tenant}/{self.job.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOptions:
    """What the command line says about every run of it."""

    root: Path
    full_refresh: bool = False
    dry_run: bool = False
    log_level: str | None = None


def require_plugins(job: ResolvedJob, root: Path) -> None:
    """Refuse a job whose executables are not there.

    Raises:
        DativoError: names every missing plugin and how to get it.
    """
    missing = [p for p in (job.source.plugin, job.target.plugin) if not is_installed(p, root)]
    if missing:
        raise DativoError(
            f"{job.tenant}/{job.name}: {' and '.join(p.name for p in missing)} not installed",
            "; ".join(dict.fromkeys(how_to_install(p) for p in missing)),
        )


class Execution:
    """Runs prepared jobs, one at a time per instance; `stop` may be called from a signal handler."""

    def __init__(self, options: RunOptions, log: RunLog, next_meltano: Callable[[], Meltano]) -> None:
        self._options = options
        self._log = log
        self._next_meltano = next_meltano
        self._meltano: Meltano | None = None
        self._stopped_by: int | None = None

    def stop(self, signal_number: int) -> None:
        """Ask the running group to end; asked twice, kill it."""
        again = self._stopped_by is not None
        self._stopped_by = signal_number
        if self._meltano is not None:
            if again:
                self._meltano.kill()
            else:
                self._meltano.stop()

    @property
    def stopped_by(self) -> int | None:
        """The signal that ended it, if one did."""
        return self._stopped_by

    def run(self, prepared: PreparedJob) -> RunReport:
        """Run a job once.

        Raises:
            JobIsRunning: another process runs it.
            DativoError: state/ or the private directory cannot be written.
        """
        run_id = new_run_id()
        log = self._log.bind(
            tenant=prepared.job.tenant,
            job=prepared.job.name,
            run_id=run_id,
            redactor=prepared.environment.redactor,
            level=self._options.log_level or (prepared.job.logging.level or "").lower() or None,
        )
        state_dir = self._options.root / prepared.plan.state_dir
        with job_lock(state_dir / ".lock", job=prepared.label, run_id=run_id):
            said = (*prepared.job.notices, *notices(prepared.job), *prepared.environment.warnings)
            for warning in said:
                log.say("warning", warning, level="warning")
            report = self._run_locked(prepared, run_id, log)
            self._keep(report, prepared, state_dir / "runs", log)
        return report

    def _keep(self, report: RunReport, prepared: PreparedJob, runs: Path, log: JobLog) -> None:
        try:
            reports.write(report, run_report.path_of(runs, report.run_id))
            run_report.prune(runs)
            if not self._options.dry_run and prepared.job.target.base_branch is None:
                mirror.refresh(prepared, report, self._options.root)
        except OSError as e:
            # The lake holds what counts; the exit code is that of the run.
            log.say("state_not_written", f"{e.filename or runs}: cannot be written: {e.strerror}", level="error")

    def _run_locked(self, prepared: PreparedJob, run_id: str, log: JobLog) -> RunReport:
        started_at = run_report.now()
        log.say("run_started", f"run {run_id}")
        environment = prepared.environment
        with private_directory(run_id, environment.variables) as directory:
            relay = Relay(log.emit)
            code, refusal = self._pipe(prepared, run_id, directory, relay, log)
            private_project.keep_system_database(directory, self._options.root)
        if refusal is not None:
            report = run_report.refused(prepared.plan, run_id, started_at, refusal, dry_run=self._options.dry_run)
        else:
            file = run_report.path_of(self._options.root / prepared.plan.state_dir / "runs", run_id)
            left = run_report.read(file)
            if left is None and not self._options.dry_run:
                here = plan_here(prepared.plan, root=self._options.root, variables=environment.variables)
                left = report_from_lake(here, run_id, started_at, run_report.now())
            report = run_report.complete(
                left,
                relay,
                plan=prepared.plan,
                run_id=run_id,
                started_at=started_at,
                meltano_exit_code=code,
                dry_run=self._options.dry_run,
            )
        if self._stopped_by is not None and report.outcome == "failed":
            run_report.mark_interrupted(report, self._stopped_by)
        if report.failure is not None:
            report.failure.message = environment.redactor.text(report.failure.message)
        return report

    def _pipe(
        self, prepared: PreparedJob, run_id: str, directory: Path, relay: Relay, log: JobLog
    ) -> tuple[int, TargetError | None]:
        """Run Meltano; returns its exit code, and why the lake refused the job if it did."""
        root, variables = self._options.root, prepared.environment.variables
        argv = private_project.write(
            directory, prepared.job, prepared.plan, prepared.singer_catalog, root=root, variables=variables
        )
        if self._options.full_refresh:
            argv.insert(1, "--full-refresh")
        meltano = self._next_meltano()
        check = PreflightCheck(prepared.plan, directory, root=root, variables=variables, on_refusal=meltano.kill)
        self._meltano = meltano
        try:
            if self._stopped_by is not None:
                meltano.kill()
            env = self._child_environment(variables, run_id, directory) | {STATE_FILE_ENV: str(check.fifo)}
            if not self._options.dry_run and prepared.job.target.base_branch is None:
                # Only what the job's own branch has published may be forgotten by a database's log.
                env[STATE_ORIGIN_ENV] = str(check.fifo.with_name(STATE_ORIGIN))
            self._start(meltano, argv, env, directory)
            check.start()
            for line in meltano.lines():
                relay.line(line)
            code = meltano.wait()
        finally:
            self._meltano = None
            meltano.close()
        check.finish()
        for warning in check.warnings:
            log.say("infrastructure", warning, level="warning")
        for table, changes in check.changes.items():
            log.say("schema_change", f"{table}: {'; '.join(changes)}", table=table)
        return code, check.refusal

    def _start(self, meltano: Meltano, argv: list[str], env: dict[str, str], directory: Path) -> None:
        try:
            meltano.start(argv, env=env, cwd=directory)
        except DativoError:
            if self._stopped_by is None:  # else a signal ended it before it was told what to do
                raise

    def _child_environment(self, environment: dict[str, str], run_id: str, directory: Path) -> dict[str, str]:
        level = self._options.log_level
        return {
            "OPENBLAS_NUM_THREADS": "1",  # nobody multiplies matrices, and its idle threads spin
            **environment,
            "DATIVO_RUN_ID": run_id,
            "DATIVO_PROJECT_ROOT": str(self._options.root),
            "DATIVO_BATCH_DIR": str(directory / private_project.BATCHES),
            "TMPDIR": str(directory / SPILL),
            "DATIVO_LOG_FORMAT": "json",
            "DATIVO_DRY_RUN": "1" if self._options.dry_run else "0",
            "DATIVO_FULL_REFRESH": "1" if self._options.full_refresh else "0",
            "MELTANO_PROJECT_ROOT": str(directory),
            "MELTANO_CLI_LOG_FORMAT": "json",
            "MELTANO_CLI_LOG_LEVEL": "debug" if level == "debug" else "info",
            "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
        }
