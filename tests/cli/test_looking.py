"""Commands that only look show what is there, though a file of somebody else is wrong."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dativo.commands.loading import InvalidConfiguration, load_or_tell
from dativo.commands.table import Lakes

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "jobs/demo", tmp_path / "jobs/demo")
    shutil.copytree(ROOT / "assets/csv", tmp_path / "assets/csv")
    monkeypatch.chdir(tmp_path)


def test_a_wrong_job_is_named_and_the_others_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    Path("jobs/demo/wrong.yaml").write_text("source_connector: csv\n")
    loaded = load_or_tell([])
    assert {j.name for j in loaded.jobs} == {"orders", "customers"}
    assert "1 file has errors" in capsys.readouterr().err


def test_when_every_job_is_wrong_that_is_the_answer() -> None:
    for file in Path("jobs/demo").glob("*.yaml"):
        file.write_text("nonsense: 1\n")
    with pytest.raises(InvalidConfiguration):
        load_or_tell([])


def test_jobs_that_share_the_embedded_lake_are_one_lake(tmp_path: Path) -> None:
    job = Path("jobs/demo/orders.yaml")
    job.write_text(job.read_text() + f"\ntarget: {{warehouse: 'file://{tmp_path}/elsewhere'}}\n")
    (tmp_path / "lake/demo").mkdir(parents=True)
    with closing(sqlite3.connect(tmp_path / "lake/demo/catalog.db")):
        assert [tenant for tenant, _ in Lakes("demo").open()] == ["demo"]


def test_a_job_that_lacks_variables_does_not_hide_the_lake_of_another(capsys: pytest.CaptureFixture[str]) -> None:
    other = Path("jobs/demo/customers.yaml")
    other.write_text(other.read_text() + "\ntarget: {connection: {catalog: {type: rest, uri: '${NOWHERE_SET}'}}}\n")
    lakes = Lakes("demo")
    assert [tenant for tenant, _ in lakes.open()] == ["demo"]
    lakes.tell()
    assert "NOWHERE_SET" in capsys.readouterr().err
