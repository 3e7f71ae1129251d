"""Whole runs: real Meltano, real launcher, small plugins."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from dativo.config.model.resolved import Retry
from dativo.errors import DativoError
from dativo.runtime import private_directory
from dativo.runtime.locks import job_lock
from target_iceberg import run_report

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.smoke


def reports(root: Path, tenant: str = "acme", job: str = "orders") -> list[Any]:
    return [run_report.read(f) for f in sorted((root / "state" / tenant / job / "runs").glob("*.json"))]


def test_a_run_ends_with_the_targets_report_and_its_exit_code(project: Any) -> None:
    assert project.run(project.job()) == 0
    (report,) = reports(project.root)
    assert report.outcome == "published"
    last = project.last()
    assert (last["outcome"], last["published"], last["run_id"]) == ("published", 2, report.run_id)
    assert last["message"].startswith("published 2 rows to shop.orders")


def test_nothing_of_the_run_is_left_but_state(project: Any) -> None:
    project.run(project.job())
    assert sorted(p.name for p in project.root.iterdir()) == [".dativo", "state"]
    run_id = reports(project.root)[0].run_id
    assert not [d for b in private_directory.bases(os.environ) for d in b.glob(f"dativo-*{run_id}*")]


def test_the_mirror_says_where_the_job_stands(project: Any) -> None:
    project.run(project.job())
    mirror = json.loads((project.root / "state/acme/orders/state.json").read_text())
    assert mirror["object_orders"]["cursor"] == 7
    assert mirror["object_orders"]["cursor_field"] == "id"


def test_secrets_reach_the_tap_and_nobody_else_sees_them(project: Any) -> None:
    project.run(project.job())
    text = project.log.getvalue()
    assert "token is ***" in text
    assert "tok-0123456789" not in text
    assert "sees []" in text
    assert not [f for f in project.root.rglob("*") if f.is_file() and b"tok-0123456789" in f.read_bytes()]


def test_a_tap_that_fails_is_named_with_its_last_words(project: Any) -> None:
    assert project.run(project.job(tap="fail")) == 2
    (report,) = reports(project.root)
    assert report.failure.failure_class == "source"
    assert "exit code 3" in report.failure.message
    assert "401: the key is not valid" in report.failure.message
    assert project.last()["retryable"] is True


def test_a_target_that_leaves_no_report_has_failed_whatever_its_exit_code(project: Any) -> None:
    assert project.run(project.job(target="vanish")) == 2
    (report,) = reports(project.root)
    assert report.failure.failure_class == "internal"
    assert "left no report" in report.failure.message


def test_a_retryable_failure_is_tried_again_as_often_as_the_job_says(project: Any) -> None:
    retry = Retry(max_retries=2, initial_delay_s=0.0)
    assert project.run(project.job(tap="fail", retry=retry)) == 2
    assert [r.outcome for r in reports(project.root)] == ["failed"] * 3
    assert [e["event_type"] for e in project.events].count("retry") == 2


def test_under_an_orchestrator_nothing_is_retried_here(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATIVO_ORCHESTRATOR", "dagster")
    project.run(project.job(tap="fail", retry=Retry(max_retries=2, initial_delay_s=0.0)))
    assert len(reports(project.root)) == 1


def test_several_jobs_of_which_one_fails_are_partly_done(project: Any) -> None:
    jobs = [project.job(), project.job(name="refunds", tap="fail"), project.job("beta")]
    assert project.run(*jobs, parallel=2) == 1
    assert reports(project.root, "beta")[0].outcome == "published"


def test_a_job_that_is_running_is_refused_with_who_runs_it(project: Any) -> None:
    with job_lock(project.root / "state/acme/orders/.lock", job="acme/orders", run_id="r-first"):
        assert project.run(project.job()) == 2
    assert f"already running (pid {os.getpid()}, run r-first)" in project.last("run_refused")["message"]
    assert not reports(project.root)


def test_a_missing_plugin_is_told_before_anything_starts(project: Any) -> None:
    from dataclasses import replace

    job = project.job()
    plugin = replace(job.source.plugin, executable="tap-nowhere", distribution="dativo-tap-nowhere")
    with pytest.raises(DativoError, match=r"(?s)tap-fake not installed.*pip install dativo-tap-nowhere"):
        project.run(replace(job, source=replace(job.source, plugin=plugin)))


def test_a_missing_secret_is_told_before_anything_starts(project: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAKE_TOKEN")
    with pytest.raises(DativoError, match="no value for FAKE_TOKEN"):
        project.run(project.job())


def test_only_the_last_hundred_reports_are_kept(project: Any) -> None:
    runs = project.root / "state/acme/orders/runs"
    runs.mkdir(parents=True)
    for n in range(120):
        (runs / f"00000000-0000-7000-8000-{n:012}.json").write_text("{}")
    project.run(project.job())
    assert len(list(runs.glob("*.json"))) == 100


def test_a_mirror_that_cannot_be_written_does_not_change_the_result(project: Any) -> None:
    (project.root / "state/acme/orders/state.json").mkdir(parents=True)
    assert project.run(project.job()) == 0
    assert "cannot be written" in project.last("state_not_written")["message"]
