"""The tutorial is run as it stands, in an empty directory, with the real programs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs/tutorial"


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
