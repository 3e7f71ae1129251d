"""validate and contract show as commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dativo.commands.contract import show
from dativo.commands.validate import validate
from dativo.config.project import Project
from dativo.config.schedules import load_runner
from dativo.errors import DativoError

MakeProject = Callable[[dict[str, str]], Project]

GOOD = {
    "jobs/acme/orders.yaml": """
        source_connector: csv
        target_connector: iceberg
        asset: orders
        source: {files: [{path: x.csv, object: orders}]}
    """,
    "assets/csv/v1.0/orders.yaml": """
        name: orders
        version: "1.0"
        schema: [{name: id, type: integer, required: true, minimum: 1}]
    """,
}


@pytest.fixture
def inside(project: MakeProject, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Project]:
    def go(files: dict[str, str]) -> Project:
        made = project(files)
        monkeypatch.chdir(made.root)
        return made

    return go


def test_a_valid_project_is_exit_0(inside: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    inside(GOOD)
    assert validate() == 0
    assert capsys.readouterr().out == "1 contract, 1 job checked: valid\n"


def test_errors_are_exit_2_and_warnings_alone_are_not(inside: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    inside({**GOOD, "jobs/acme/x.yaml": "a: 1\n"})
    assert validate() == 2
    assert "jobs/acme/x.yaml:1:1: a: unknown key 'a'" in capsys.readouterr().out
    assert validate([Path("jobs/acme/orders.yaml")]) == 0
    inside(
        {
            "jobs/acme/x.yaml": GOOD["jobs/acme/orders.yaml"],
            "assets/csv/v1.1/o.yaml": GOOD["assets/csv/v1.0/orders.yaml"],
        }
    )
    assert validate([Path("assets/csv/v1.1/o.yaml")]) == 2, "the contract is there twice"


def test_json_has_every_field_of_every_finding(inside: MakeProject, capsys: pytest.CaptureFixture[str]) -> None:
    inside({**GOOD, "jobs/acme/x.yaml": "asset: 5\n"})
    assert validate(output_format="json") == 2
    said = json.loads(capsys.readouterr().out)
    assert said["errors"] == len(said["findings"])
    assert said["findings"][0].keys() == {
        "code", "name", "severity", "file", "line", "column", "path", "problem", "remedy",
    }  # fmt: skip


@pytest.mark.parametrize("path", ["assets/csv", "connectors", "configs/runner.yaml", "registry/connectors.yaml"])
def test_any_kind_of_file_can_be_asked_for(inside: MakeProject, path: str) -> None:
    inside(
        {
            **GOOD,
            "connectors/sources/mine.yaml": "type: csv\n",
            "configs/runner.yaml": "jobs: [{name: a, schedule: '@daily', job_path: jobs/acme/orders.yaml}]\n",
            "registry/connectors.yaml": "version: 3\nconnectors: {}\n",
        }
    )
    assert validate([Path(path)]) == 0


def test_contract_show_prints_odcs_or_what_a_run_checks(
    inside: MakeProject, capsys: pytest.CaptureFixture[str]
) -> None:
    inside(GOOD)
    assert show("orders") == 0
    assert "logicalType: integer" in capsys.readouterr().out
    assert show("assets/csv/v1.0/orders.yaml", output_format="json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["columns"] == [{"name": "id", "type": "long", "required": True}]
    assert said["rules"][0]["name"] == "orders.id.minimum"


def test_an_unknown_contract_is_told_with_its_neighbours(inside: MakeProject) -> None:
    inside(GOOD)
    with pytest.raises(DativoError, match="did you mean 'orders'"):
        show("order")


def test_both_forms_of_runner_yaml_are_one_list_of_schedules(project: MakeProject) -> None:
    long = """
        runner:
          mode: orchestrated
          orchestrator:
            type: dagster
            concurrency_per_tenant: 2
            schedules:
              - {name: a, config: /app/jobs/acme/orders.yaml, interval_seconds: 60, enabled: false, tags: [x]}
    """
    made = project({**GOOD, "configs/runner.yaml": long})
    config = load_runner(made, [])
    schedule = config.schedules[0]
    assert (config.concurrency_per_tenant, schedule.interval_seconds, schedule.enabled) == (2, 60, False)
    assert schedule.job_path == made.root / "jobs/acme/orders.yaml"
    assert schedule.tags == {"x": "true"}
    short = (
        "jobs: [{name: b, schedule: '0 2 * * *', job_path: jobs/acme/orders.yaml, retry_policy: {max_retries: 2}}]\n"
    )
    config = load_runner(project({"configs/runner.yaml": short}), [])
    assert config.schedules[0].cron == "0 2 * * *"
    assert config.schedules[0].retry is not None
    assert config.schedules[0].retry.max_retries == 2


def test_without_runner_yaml_there_are_no_schedules(project: MakeProject) -> None:
    assert load_runner(project(GOOD), []).schedules == ()
