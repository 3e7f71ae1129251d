"""`dativo run`: load, log, secrets, environment, validate, infrastructure, state, run; in this order."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dativo.errors import DativoError
from dativo.runtime.process import Meltano, adopt_orphans

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import FrameType

    from dativo.commands.loading import Loaded
    from dativo.config.model.resolved import DeploymentMode, ResolvedJob
    from dativo.runtime.execution import Execution, PreparedJob, RunOptions
    from dativo.runtime.runlog import LogFormat, RunLog
    from target_iceberg.run_report import RunReport

ORCHESTRATOR_ENV = "DATIVO_ORCHESTRATOR"
"""Set by an orchestrator that retries by itself; then nothing is retried here."""


@dataclass(slots=True)
class Children:
    """Meltano processes that import while configuration is read; whoever starts a job takes one."""

    _warm: list[Meltano] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def warm_up(self) -> None:
        """Start one more."""
        child = Meltano(os.environ)
        with self._lock:
            self._warm.append(child)

    def take(self) -> Meltano:
        """One that nobody has told anything."""
        with self._lock:
            if self._warm:
                return self._warm.pop(0)
        return Meltano(os.environ)

    def discard(self) -> None:
        """End those that were not needed."""
        with self._lock:
            for child in self._warm:
                child.discard()
            self._warm.clear()


def run(
    *,
    config: Sequence[Path],
    job_dir: Path | None,
    secrets_dir: Path | None,
    mode: DeploymentMode,
    parallel: int,
    dry_run: bool,
    full_refresh: bool,
    branch: str | None,
    log_format: LogFormat,
    log_level: str | None,
) -> int:
    """Run jobs; the exit code is that of architecture.md: 0 all published, 1 in part, 2 nothing, 128 + n for a signal."""
    children = Children()
    children.warm_up()
    adopt_orphans()
    try:
        from dativo.runtime.runlog import open_log

        log = open_log(log_format, log_level or "info")
        try:
            loaded, options = _load(config, job_dir, mode, full_refresh, dry_run, log_level)
            jobs = loaded.jobs if branch is None else [_on_branch(job, branch) for job in loaded.jobs]
            prepared = prepare_all(jobs, options, secrets_dir=secrets_dir)
            warn_of_infrastructure(prepared, log)
            return Runs(options, log, children).run_all(prepared, parallel=parallel)
        except DativoError as problem:
            say_refused(problem, log)
            return problem.exit_code
        finally:
            log.close()
    finally:
        children.discard()


def _load(
    config: Sequence[Path],
    job_dir: Path | None,
    mode: DeploymentMode,
    full_refresh: bool,
    dry_run: bool,
    log_level: str | None,
) -> tuple[Loaded, RunOptions]:
    from dativo.commands.loading import load_or_refuse
    from dativo.runtime.execution import RunOptions

    loaded = load_or_refuse([job_dir] if job_dir is not None else config, mode=mode)
    options = RunOptions(root=loaded.root, full_refresh=full_refresh, dry_run=dry_run, log_level=log_level)
    return loaded, options


def _on_branch(job: ResolvedJob, branch: str) -> ResolvedJob:
    """The job, publishing on another branch than its own.

    Raises:
        DativoError: its catalog has no branches, or the branch is not the tenant's.
    """
    from dativo.config.lints import is_branch_of

    label, target = f"{job.tenant}/{job.name}", job.target
    if "nessie" not in target.connection:
        raise DativoError(f"{label}: --branch needs a lake catalog with branches", "run it without --branch")
    if not is_branch_of(job.tenant, branch):
        raise DativoError(f"{label}: {branch!r} is no branch of tenant '{job.tenant}'", f"write {job.tenant}/<name>")
    own = target.branch or job.tenant
    return job if branch == own else replace(job, target=replace(target, branch=branch, base_branch=own))


def say_refused(problem: DativoError, log: RunLog) -> None:
    """Say why nothing was started; findings of files one by one, so that programs can read them."""
    from dativo.commands.loading import InvalidConfiguration
    from dativo.config.report import as_json, as_text
    from dativo.runtime.relay import Event

    if isinstance(problem, InvalidConfiguration):
        for finding in problem.findings:
            log.emit(Event("finding", finding.severity, as_text(finding), as_json(finding)))
        count = len(problem.findings)
        message = f"nothing was started: {count} {'finding' if count == 1 else 'findings'}"
    else:
        message = str(problem)
    log.emit(Event("run_refused", "error", message, {"exit_code": problem.exit_code, "retryable": False}))


def prepare_all(
    jobs: Sequence[ResolvedJob], options: RunOptions, *, secrets_dir: Path | None = None
) -> list[PreparedJob]:
    """Look up what every job needs before the first one starts.

    Raises:
        DativoError: lists what is missing, for all jobs.
    """
    prepared: list[PreparedJob] = []
    problems: list[str] = []
    for job in jobs:
        try:
            prepared.append(prepare(job, options, secrets_dir=secrets_dir))
        except DativoError as problem:  # noqa: PERF203  one problem must not hide those of the other jobs
            problems.append(str(problem))
    if problems:
        raise DativoError("\n".join(problems))
    return prepared


def prepare(job: ResolvedJob, options: RunOptions, *, secrets_dir: Path | None = None) -> PreparedJob:
    """Look up what one job needs.

    Raises:
        DativoError: a plugin, a secret or a variable is missing.
    """
    from dativo.lower.load_plan import full_refresh_of, lower
    from dativo.lower.singer_catalog import singer_catalog
    from dativo.runtime.environment import job_environment
    from dativo.runtime.execution import PreparedJob, require_plugins

    require_plugins(job, options.root)
    plan = full_refresh_of(lower(job)) if options.full_refresh else lower(job)
    directory = secrets_dir if secrets_dir is not None else options.root / "secrets"
    environment = job_environment(job, plan, root=options.root, secrets_dir=directory.absolute(), environ=os.environ)
    return PreparedJob(job=job, plan=plan, singer_catalog=singer_catalog(job, plan), environment=environment)


def warn_of_infrastructure(prepared: Sequence[PreparedJob], log: RunLog) -> None:
    """Say what cannot be reached or is too old; the run itself decides whether that matters."""
    from dativo.runtime.probes import infrastructure
    from dativo.runtime.relay import Event

    for address, problem in infrastructure(prepared):
        log.emit(Event("infrastructure", "warning", f"{address}: {problem}", {"address": address}))


class Runs:
    """All runs of one command: tenants side by side, one tenant's jobs one after the other."""

    def __init__(self, options: RunOptions, log: RunLog, children: Children) -> None:
        self._options, self._log, self._children = options, log, children
        self._executions: list[Execution] = []
        self._stopped_by: int | None = None
        self._wake = threading.Event()

    def run_all(self, prepared: Sequence[PreparedJob], *, parallel: int) -> int:
        """Run everything; returns the exit code."""
        tenants: dict[str, list[PreparedJob]] = {}
        for item in prepared:
            tenants.setdefault(item.job.tenant, []).append(item)
        previous = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            with ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="tenant") as pool:
                futures = [pool.submit(self._run_tenant, jobs) for jobs in tenants.values()]
                codes = [code for future in futures for code in future.result()]
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        return exit_code(codes, expected=len(prepared), stopped_by=self._stopped_by)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._stopped_by = number
        self._wake.set()
        for execution in self._executions:
            execution.stop(number)

    def _run_tenant(self, jobs: Sequence[PreparedJob]) -> list[int]:
        from dativo.runtime.execution import Execution

        execution = Execution(self._options, self._log, self._children.take)
        self._executions.append(execution)
        codes = []
        for position, job in enumerate(jobs):
            if self._stopped_by is not None:
                break
            if position + 1 < len(jobs):
                self._children.warm_up()
            codes.append(self._run_with_retries(execution, job))
        return codes

    def _run_with_retries(self, execution: Execution, prepared: PreparedJob) -> int:
        from dativo.runtime import retry

        policy = prepared.job.retry
        attempts = 1 if os.environ.get(ORCHESTRATOR_ENV) else policy.max_retries + 1
        for attempt in range(1, attempts + 1):
            try:
                report = execution.run(prepared)
            except DativoError as problem:
                self._say_refused(prepared, problem)
                return problem.exit_code
            last = attempt == attempts or self._stopped_by is not None or not retry.is_worth_retrying(report, policy)
            self._say_finished(prepared, report, last=last)
            if last:
                return report.exit_code
            self._wake.wait(retry.delay_s(attempt, policy))
            if self._stopped_by is not None:
                return report.exit_code
        raise AssertionError("the last attempt returns")

    def _say_finished(self, prepared: PreparedJob, report: RunReport, *, last: bool) -> None:
        from dativo.runtime import summary

        job = prepared.job
        log = self._log.bind(
            tenant=job.tenant, job=job.name, run_id=report.run_id, redactor=prepared.environment.redactor
        )
        level = {0: "info", 1: "warning"}.get(report.exit_code, "error")
        file = f"{prepared.plan.state_dir}/runs/{report.run_id}.json"
        if not last:
            log.say("retry", f"will be tried again: {summary.headline(report)}", level="warning")
            return
        job_file = (
            str(job.path.relative_to(self._options.root))
            if job.path.is_relative_to(self._options.root)
            else str(job.path)
        )
        for line in summary.closing(report, job_file):
            log.say("summary", line, level=level)
        fields = summary.fields(report)
        if self._stopped_by is not None and fields.get("failure_class") == "interrupted":
            fields["exit_code"] = 128 + self._stopped_by
        log.say("run_finished", summary.headline(report), level=level, report=file, **fields)

    def _say_refused(self, prepared: PreparedJob, problem: DativoError) -> None:
        log = self._log.bind(
            tenant=prepared.job.tenant, job=prepared.job.name, run_id="", redactor=prepared.environment.redactor
        )
        log.say("run_refused", str(problem), level="error", exit_code=problem.exit_code, retryable=False)


def exit_code(codes: Sequence[int], *, expected: int, stopped_by: int | None) -> int:
    """One exit code for several runs; a signal counts unless everything had been published by then (protocol, rule 21)."""
    complete = len(codes) == expected
    if stopped_by is not None and not (complete and all(code in (0, 1) for code in codes)):
        return 128 + stopped_by
    if complete and all(code == 0 for code in codes):
        return 0
    return 1 if any(code in (0, 1) for code in codes) else 2
