"""`dativo compile` writes the same bytes everywhere and refuses stale artefacts on request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from target_iceberg import load_plan

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]
ARTEFACTS = [
    ".dativo/plans/demo/customers.catalog.json",
    ".dativo/plans/demo/customers.json",
    ".dativo/plans/demo/orders.catalog.json",
    ".dativo/plans/demo/orders.json",
    ".dativo/plans/index.json",
    "meltano.yml",
]


def written(root: Path) -> list[str]:
    files = [*(root / ".dativo").rglob("*.json"), *root.glob("meltano.yml")]
    return sorted(f.relative_to(root).as_posix() for f in files)


def test_it_writes_meltano_yml_plans_and_catalogs(dativo: Any, demo: Path) -> None:
    result = dativo("compile", "jobs/")
    assert (result.code, written(demo)) == (0, ARTEFACTS)
    assert "compiled 2 jobs; 6 files changed" in result.out
    plan = load_plan.read(demo / ".dativo/plans/demo/orders.json")
    assert (
        json.loads((demo / ".dativo/plans/index.json").read_text())[plan.state_id] == ".dativo/plans/demo/orders.json"
    )


def test_the_same_files_give_the_same_bytes_in_another_place(dativo: Any, demo: Path, tmp_path: Path) -> None:
    dativo("compile")
    dativo("compile", "--output-dir", tmp_path / "elsewhere")
    for name in ARTEFACTS:
        assert (demo / name).read_bytes() == (tmp_path / "elsewhere" / name).read_bytes()
        assert str(tmp_path).encode() not in (demo / name).read_bytes()


def test_compiling_again_changes_nothing(dativo: Any, demo: Path) -> None:
    dativo("compile")
    assert "0 files changed" in dativo("compile").out


def test_check_is_silent_when_current_and_shows_a_diff_when_stale(dativo: Any, demo: Path) -> None:
    dativo("compile")
    assert dativo("compile", "--check").code == 0
    job = demo / "jobs/demo/orders.yaml"
    job.write_text(job.read_text().replace("orders/*.csv", "orders/*.csv.gz"))
    result = dativo("compile", "--check")
    assert result.code == 1
    assert '+      - path: "examples/orders/*.csv.gz"' in result.out
    assert "*.csv.gz" not in (demo / "meltano.yml").read_text()


def test_check_on_a_fresh_clone_looks_at_meltano_yml_alone(dativo: Any, demo: Path, tmp_path: Path) -> None:
    dativo("compile", "--output-dir", tmp_path / "out")
    (tmp_path / "out/meltano.yml").rename(demo / "meltano.yml")
    assert dativo("compile", "--check").code == 0


def test_one_job_is_compiled_without_touching_meltano_yml(dativo: Any, demo: Path) -> None:
    assert dativo("compile", "--tenant", "demo", "--job", "orders").code == 0
    assert written(demo) == [n for n in ARTEFACTS if "/orders." in n]


def test_plans_of_jobs_that_are_gone_are_removed(dativo: Any, demo: Path) -> None:
    dativo("compile")
    (demo / "jobs/demo/customers.yaml").unlink()
    dativo("compile")
    assert written(demo) == [n for n in ARTEFACTS if "customers" not in n]


def test_variables_and_secrets_stay_names(dativo: Any, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA", "very-secret-place")
    job = demo / "jobs/demo/orders.yaml"
    job.write_text(job.read_text().replace("examples/orders", "${DATA}/orders"))
    assert dativo("compile").code == 0
    for name in ARTEFACTS:
        assert "very-secret-place" not in (demo / name).read_text()
    assert "${DATA}/orders/*.csv" in (demo / "meltano.yml").read_text()


def test_findings_end_a_compile_before_anything_is_written(dativo: Any, demo: Path) -> None:
    job = demo / "jobs/demo/orders.yaml"
    job.write_text(job.read_text() + "sorce: {}\n")
    result = dativo("compile")
    assert result.code == 2
    assert "jobs/demo/orders.yaml:" in result.err
    assert "did you mean" in result.err
    assert written(demo) == []


def test_an_empty_jobs_directory_says_what_to_do(dativo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").mkdir()
    monkeypatch.chdir(tmp_path)
    result = dativo("compile", "jobs/")
    assert result.code == 2
    assert "dativo init" in result.err


def test_the_checked_in_meltano_yml_is_current_and_plain_yaml() -> None:
    project = yaml.safe_load((ROOT / "meltano.yml").read_text())
    assert {"tap-csv", "target-iceberg"} <= {p["name"] for kind in project["plugins"].values() for p in kind}
