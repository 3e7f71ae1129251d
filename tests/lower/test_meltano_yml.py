"""The compiled Meltano project: names, inheritance, secrets by name, one renderer for root and run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dativo.config.model.resolved import Plugin, Secret
from dativo.lower import names
from dativo.lower.meltano_yml import ROOT, BasePlugin, Places, Schedule, escape, project, render

GOLDEN = Path(__file__).parent / "golden" / "meltano.yml"


def bases(*jobs: Any) -> dict[str, list[BasePlugin]]:
    taps = {j.source.plugin.name: BasePlugin(plugin=j.source.plugin) for j in jobs}
    targets = {j.target.plugin.name: BasePlugin(plugin=j.target.plugin) for j in jobs}
    return {"taps": list(taps.values()), "targets": list(targets.values())}


def test_the_rendering_is_the_golden_file(make_job: Any, make_database_job: Any) -> None:
    jobs = [make_job(), make_database_job()]
    tap = BasePlugin(
        plugin=jobs[0].source.plugin, settings={"files": [{"path": "examples/orders/*.csv", "object": "orders"}]}
    )
    pg = BasePlugin(plugin=jobs[1].source.plugin, secrets=jobs[1].source.secrets)
    target = BasePlugin(plugin=jobs[0].target.plugin)
    schedules = [Schedule(name="nightly", tenant="demo", job="orders", cron="0 3 * * *")]
    text = render(project(jobs, taps=[tap, pg], targets=[target], schedules=schedules)).decode()
    assert text == GOLDEN.read_text()


def test_jobs_of_two_tenants_never_share_a_name(make_job: Any) -> None:
    jobs = [make_job("a-b", "c"), make_job("a", "b-c"), make_job("x", "y")]
    assert list(names.meltano_jobs(jobs).values()) == ["a-b--c", "a--b-c", "x-y"]


def test_a_secret_stands_as_its_name_and_never_as_a_value(make_database_job: Any) -> None:
    job = make_database_job()
    text = render(project([job], **bases(job))).decode()
    child = yaml.safe_load(text)["plugins"]["extractors"][1]
    assert child["config"]["connection"]["password"] == "${PG_PASSWORD}"


def test_a_tap_that_reads_secrets_by_name_is_told_the_name(make_job: Any) -> None:
    job = make_job(source__secrets=(Secret(setting="api_key", name="ACME_KEY"),))
    child = project([job], **bases(job))["plugins"]["extractors"][1]
    assert child["config"]["api_key_env"] == "ACME_KEY"
    assert "api_key" not in child["config"]


def test_the_path_of_a_secret_file_is_a_setting(make_job: Any) -> None:
    job = make_job(
        source__secrets=(Secret(setting="credentials_file", name="GOOGLE", file="/secrets/{tenant}/g.json"),)
    )
    assert project([job], **bases(job))["plugins"]["extractors"][1]["config"]["credentials_file"] == "${GOOGLE}"


def test_batches_are_only_asked_for_where_both_sides_know_arrow(make_job: Any) -> None:
    job = make_job(target__plugin=Plugin(name="target-other", executable="target-other"))
    arrow, plain = (project([j], **bases(j))["plugins"]["extractors"][1]["config"] for j in (make_job(), job))
    assert arrow["batch_config"]["encoding"]["format"] == "arrow"
    assert arrow["rejects"] == "emit"
    assert "batch_config" not in plain


def test_every_tap_declares_state_and_catalog(make_database_job: Any) -> None:
    job = make_database_job()
    assert {"state", "catalog"} <= set(project([job], **bases(job))["plugins"]["extractors"][0]["capabilities"])


def test_a_job_with_its_own_executable_does_not_inherit_the_others(make_job: Any) -> None:
    special = Plugin(name="tap-csv", executable="my-tap-csv")
    jobs = [make_job(), make_job("acme", source__plugin=special)]
    taps = project(jobs, taps=[BasePlugin(plugin=jobs[0].source.plugin)], targets=bases(*jobs)["targets"])["plugins"]
    assert "env" not in taps["extractors"][1]
    assert taps["extractors"][2]["env"] == {"DATIVO_TAP": "my-tap-csv"}


def test_a_schedule_of_a_job_that_is_not_rendered_is_left_out(make_job: Any) -> None:
    job = make_job()
    schedules = [Schedule(name="n", tenant="other", job="orders", cron="@daily")]
    assert project([job], **bases(job), schedules=schedules)["schedules"] == []


def test_dollars_that_are_not_ours_are_not_expanded_by_meltano() -> None:
    assert escape("$HOME ${HOME} a$", keep_braces=True) == "\\$HOME ${HOME} a$"
    assert escape("$HOME ${HOME}", keep_braces=False) == "\\$HOME \\${HOME}"


def test_a_run_renders_the_same_job_with_other_places(make_job: Any) -> None:
    job = make_job()
    places = Places(
        state_backend="dativo:////dev/shm/x/load_plan.json", load_plan=lambda _: "/dev/shm/x/load_plan.json"
    )
    root, private = (project([job], **bases(job), places=p) for p in (ROOT, places))
    root["state_backend"]["uri"] = private["state_backend"]["uri"]
    root["plugins"]["loaders"][1]["config"]["load_plan"] = "/dev/shm/x/load_plan.json"
    assert root == private
