"""configs/runner.yaml in both forms: `runner:` with an orchestrator's schedules, or a short list of `jobs:`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dativo.config.model.base import Authored


class RetryPolicy(Authored):
    """How the orchestrator retries."""

    max_retries: int = Field(default=0, ge=0, le=100)
    delay_seconds: float = Field(default=60.0, ge=0)
    backoff_factor: float = Field(default=2.0, ge=1)


class ScheduleEntry(Authored):
    """One schedule of the long form."""

    name: str
    config: str
    """Job file."""
    cron: str | None = None
    interval_seconds: int | None = Field(default=None, ge=1)
    enabled: bool = True
    timezone: str = "UTC"
    max_concurrent_runs: int = Field(default=1, ge=1)
    tags: dict[str, str] | list[str] = Field(default_factory=dict)
    retry_policy: RetryPolicy | None = None

    @model_validator(mode="after")
    def _one_clock(self) -> ScheduleEntry:
        if (self.cron is None) == (self.interval_seconds is None):
            raise ValueError("give either cron or interval_seconds")
        return self


class Orchestrator(Authored):
    """Who starts runs."""

    type: Literal["dagster"] = "dagster"
    schedules: list[ScheduleEntry] = Field(default_factory=list)
    concurrency_per_tenant: int = Field(default=1, ge=1)


class RunnerSection(Authored):
    """The long form."""

    mode: Literal["orchestrated", "oneshot"] = "orchestrated"
    orchestrator: Orchestrator = Orchestrator()


class ShortSchedule(Authored):
    """One schedule of the short form."""

    name: str
    schedule: str
    """Cron expression."""
    job_path: str
    enabled: bool = True
    timezone: str = "UTC"
    retry_policy: RetryPolicy | None = None


class Runner(Authored):
    """The whole file."""

    runner: RunnerSection | None = None
    jobs: list[ShortSchedule] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Runner:
        if (self.runner is None) == (self.jobs is None):
            raise ValueError("write either runner: {orchestrator: {schedules: [..]}} or jobs: [..]")
        return self
