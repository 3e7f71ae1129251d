"""Commands that only look show what is there, though a file of somebody else is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from dativo.commands.loading import InvalidConfiguration, load_or_tell

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
