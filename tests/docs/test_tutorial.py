"""The tutorial and the page on Meltano are run as they stand, with the real programs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs/tutorial"


def blocks(file: Path) -> list[str]:
    """Shell blocks of a page, in order."""
    return re.findall(r"^```sh\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE)


def run(script: str, directory: Path) -> str:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout


@pytest.mark.smoke
def test_the_first_table_comes_out_as_the_tutorial_says(tmp_path: Path) -> None:
    steps = blocks(TUTORIAL / "first-table.md")
    said = [run(step, tmp_path) for step in steps]
    by_command = dict(zip(steps, said, strict=True))

    def shown(word: str) -> list[str]:
        return [text for step, text in by_command.items() if word in step]

    inferred = shown("contract infer")[0]
    assert "isbn" in inferred
    assert "published_on" in inferred
    assert "Pride and Prejudice" in shown("dativo table show shop.books\n")[0]
    bad_record = shown("__rejects")[0]
    assert "exit code 2" in bad_record
    assert "data/books-2025-02.csv" in bad_record
    assert "5 rows" in shown("mended.csv")[0]
    assert (tmp_path / "meltano.yml").read_text() == (TUTORIAL / "meltano.yml").read_text()


@pytest.mark.smoke
def test_meltano_by_hand_does_what_the_page_says(tmp_path: Path) -> None:
    for name in ("jobs", "assets", "connectors", "configs", "examples"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (script,) = blocks(ROOT / "docs/how-to/run-with-meltano.md")
    said = run(script, tmp_path)
    assert "demo-orders: ['tap-csv--demo--orders target-iceberg--demo--orders']" in said
    assert "load_plan" in said
    assert "shop.orders" in run("dativo table list --tenant demo", tmp_path)
    assert (tmp_path / "lake/default/catalog.db").is_file()
    assert list((tmp_path / "state/meltano").iterdir())
    assert '"result": "published"' in run("dativo status jobs/demo/orders.yaml --format json", tmp_path)


def test_the_compiled_project_of_the_tutorial_is_the_one_beside_it(tmp_path: Path) -> None:
    for step in blocks(TUTORIAL / "first-table.md"):
        if step.startswith(("mkdir", "cat >")):
            run(
                "\n".join(re.findall(r"^(?:mkdir.*|cat > .*?^(?:CSV|YAML))$", step, re.DOTALL | re.MULTILINE)) or ":",
                _with_assets(tmp_path),
            )
    run("dativo compile jobs/", tmp_path)
    assert (tmp_path / "meltano.yml").read_text() == (TUTORIAL / "meltano.yml").read_text()


def _with_assets(directory: Path) -> Path:
    (directory / "assets/csv/v1.0").mkdir(parents=True, exist_ok=True)  # which `contract infer` makes
    return directory
