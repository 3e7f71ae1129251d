"""Schedules of configs/runner.yaml, both forms as one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dativo.config.check_model import check_model
from dativo.config.cron import problem_of
from dativo.config.diagnostics import did_you_mean
from dativo.config.model.runner import Runner
from dativo.config.project import JOB_DIRECTORIES, RUNNER_FILE, yaml_files

if TYPE_CHECKING:
    from pathlib import Path

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.model.runner import RetryPolicy
    from dativo.config.project import Project
    from dativo.config.yamlio import Document


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When one job runs; exactly one of `cron` and `interval_seconds` is given."""

    name: str
    job_path: Path
    """Absolute path of the job file."""
    cron: str | None = None
    interval_seconds: int | None = None
    enabled: bool = True
    timezone: str = "UTC"
    max_concurrent_runs: int = 1
    tags: dict[str, str] = field(default_factory=dict)
    retry: RetryPolicy | None = None


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """The whole file."""

    schedules: tuple[Schedule, ...] = ()
    concurrency_per_tenant: int = 1


def load_runner(project: Project, findings: list[Finding], path: Path | None = None) -> RunnerConfig:
    """configs/runner.yaml; without the file there are no schedules."""
    file = path or project.root / RUNNER_FILE
    if path is None and not file.exists():
        return RunnerConfig()
    document = project.load(file, findings)
    runner = check_model(Runner, document, findings) if document else None
    if document is None or runner is None:
        return RunnerConfig()
    placed = list(_schedules(runner, project))
    _check(placed, project, document, findings)
    concurrency = runner.runner.orchestrator.concurrency_per_tenant if runner.runner else 1
    return RunnerConfig(tuple(schedule for _, _, schedule in placed), concurrency)


Placed = tuple[tuple["PathPart", ...], str, Schedule]
"""Where it stands, the key that names the job file, and the schedule."""


def _schedules(runner: Runner, project: Project) -> list[Placed]:
    if runner.jobs is not None:
        return [
            (
                ("jobs", i),
                "job_path",
                Schedule(
                    name=entry.name,
                    job_path=project.path(entry.job_path),
                    cron=entry.schedule,
                    enabled=entry.enabled,
                    timezone=entry.timezone,
                    retry=entry.retry_policy,
                ),
            )
            for i, entry in enumerate(runner.jobs)
        ]
    assert runner.runner is not None, "the model demands one of the two forms"
    return [
        (
            ("runner", "orchestrator", "schedules", i),
            "config",
            Schedule(
                name=entry.name,
                job_path=project.path(entry.config),
                cron=entry.cron,
                interval_seconds=entry.interval_seconds,
                enabled=entry.enabled,
                timezone=entry.timezone,
                max_concurrent_runs=entry.max_concurrent_runs,
                tags=entry.tags if isinstance(entry.tags, dict) else dict.fromkeys(entry.tags, "true"),
                retry=entry.retry_policy,
            ),
        )
        for i, entry in enumerate(runner.runner.orchestrator.schedules)
    ]


def _check(placed: list[Placed], project: Project, document: Document, findings: list[Finding]) -> None:
    seen: set[str] = set()
    for place, job_key, schedule in placed:
        if schedule.name in seen:
            problem = f"a schedule '{schedule.name}' is there already"
            findings.append(document.finding("DTV072", (*place, "name"), problem, "rename one of them"))
        seen.add(schedule.name)
        if not schedule.job_path.is_file():
            shown = project.shown(schedule.job_path)
            jobs = [project.shown(f) for d in JOB_DIRECTORIES for f in yaml_files(project.root / d)]
            problem = f"no job at {shown}{did_you_mean(shown, jobs)}"
            findings.append(document.finding("DTV070", (*place, job_key), problem, "name a job file below jobs/"))
        problem_of_cron = problem_of(schedule.cron) if schedule.cron is not None else None
        if problem_of_cron:
            key = "schedule" if job_key == "job_path" else "cron"
            remedy = 'write five fields, e.g. "0 2 * * *" for every night at two'
            findings.append(document.finding("DTV071", (*place, key), f"{schedule.cron!r}: {problem_of_cron}", remedy))
        if not _is_timezone(schedule.timezone):
            problem = f"no time zone '{schedule.timezone}'"
            findings.append(
                document.finding("DTV073", (*place, "timezone"), problem, "write one like Europe/Berlin, or UTC")
            )


def _is_timezone(name: str) -> bool:
    if name.upper() in {"UTC", "GMT"}:
        return True  # also where the machine has no time zone data
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
