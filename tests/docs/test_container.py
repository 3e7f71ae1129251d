"""The Dockerfile, as far as it can be tried without an engine: its steps are done here on a copy of what it would copy."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]


def instructions() -> list[tuple[str, str]]:
    """(word, rest) of each instruction, continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def copied() -> list[tuple[str, str]]:
    """(source, destination) of everything that comes from the checkout."""
    pairs = []
    for word, rest in instructions():
        if word == "COPY" and not rest.startswith("--from"):
            *sources, destination = rest.split()
            pairs += [(source, destination) for source in sources]
    return pairs


def ignored() -> set[str]:
    return {line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"}


def test_everything_that_is_copied_exists_and_is_not_ignored() -> None:
    assert copied()
    for source, _ in copied():
        assert (ROOT / source).exists(), source
        assert source not in ignored()


def test_secrets_data_and_state_never_enter_the_build() -> None:
    assert {"secrets", "lake", "state", ".git", ".venv", ".dativo"} <= ignored()


def test_the_image_does_not_run_as_root() -> None:
    last_stage = instructions()[max(n for n, (word, _) in enumerate(instructions()) if word == "FROM") :]
    users = [rest for word, rest in last_stage if word == "USER"]
    assert users == ["dativo"]
    after = last_stage[[word for word, _ in last_stage].index("USER") :]
    assert not any(word in {"RUN", "COPY"} for word, _ in after)
    assert any(word == "RUN" and "useradd" in rest and " dativo" in rest for word, rest in last_stage)


def test_the_entry_points_are_commands() -> None:
    from dativo.cli import cli

    said = dict(instructions())
    entry, default = json.loads(said["ENTRYPOINT"]), json.loads(said["CMD"])
    assert entry[0] in {e.name for e in entry_points(group="console_scripts")}
    assert {"run", "start"} <= set(cli.commands)
    subprocess.run([Path(sys.executable).parent / entry[0], *entry[1:], *default], check=True, capture_output=True)
    assert said["WORKDIR"] == "/app"


def test_the_base_image_is_new_enough_for_every_distribution() -> None:
    images = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert set(images) == {"python:3.11-slim"}


@pytest.fixture
def build_context(tmp_path: Path) -> Path:
    """What lies in the build stage after its COPY steps."""
    for source, destination in copied():
        there = tmp_path / ("" if destination == "./" else PurePosixPath(destination))
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, there, ignore=shutil.ignore_patterns("__pycache__", "tests", "*.egg-info"))
        else:
            shutil.copy(ROOT / source, there)
    return tmp_path


def test_pip_takes_the_arguments_of_the_build(build_context: Path) -> None:
    steps = [shlex.split(rest) for word, rest in instructions() if word == "RUN" and "pip" in rest]
    assert len(steps) == 1
    pip, *arguments = steps[0]
    assert pip.endswith("/bin/pip")
    wanted = {a for a in arguments if a.startswith(".")}
    listed = {line.removeprefix("-e ") for line in (ROOT / "requirements.txt").read_text().splitlines() if line}
    assert wanted == listed
    offline = ["--dry-run", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, *offline],
        cwd=build_context,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Would install" in done.stdout
