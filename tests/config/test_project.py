"""Roots, paths and discovery."""

from __future__ import annotations

from pathlib import Path

import pytest

from dativo.config.project import Project, find_root


def test_the_root_is_found_from_any_directory_below_it(tmp_path: Path) -> None:
    (tmp_path / "jobs" / "acme").mkdir(parents=True)
    assert find_root(tmp_path / "jobs" / "acme") == tmp_path
    assert Project.discover(tmp_path / "jobs").root == tmp_path


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("data/x.csv", "data/x.csv"),
        ("/app/data/*.csv", "data/*.csv"),
        ("/workspace/assets/x.yaml", "assets/x.yaml"),
        ("/secrets/acme/x.json", "secrets/acme/x.json"),
        ("/state/acme/job/state.json", "state/acme/job/state.json"),
        ("/application/x", "/application/x"),
        ("${DATA}/x.csv", "${DATA}/x.csv"),
    ],
)
def test_container_paths_mean_the_project_root(tmp_path: Path, written: str, meant: str) -> None:
    assert Project(tmp_path).rendered(written) == meant


def test_a_path_below_the_root_is_rendered_relative_to_it(tmp_path: Path) -> None:
    assert Project(tmp_path).rendered(f"{tmp_path}/data/x.csv") == "data/x.csv"
    assert Project(tmp_path).shown(tmp_path / "jobs" / "x.yaml") == "jobs/x.yaml"


def test_hidden_files_and_directories_hold_no_jobs(tmp_path: Path) -> None:
    for name in (".hidden.yaml", ".cache/x.yaml", "acme/job.yml", "acme/notes.txt"):
        (tmp_path / "jobs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "jobs" / name).write_text("a: 1")
    assert Project(tmp_path).job_files([], []) == [tmp_path / "jobs" / "acme" / "job.yml"]


def test_a_path_of_the_command_line_counts_from_the_working_directory_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jobs" / "acme").mkdir(parents=True)
    (tmp_path / "jobs" / "acme" / "x.yaml").write_text("a: 1")
    project = Project(tmp_path)
    monkeypatch.chdir(tmp_path / "jobs")
    assert project.asked(Path("acme/x.yaml")) == tmp_path / "jobs" / "acme" / "x.yaml"
    assert project.asked(Path("jobs/acme/x.yaml")) == tmp_path / "jobs" / "acme" / "x.yaml"
