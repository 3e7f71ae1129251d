"""Every way in which a command ends has its exit code, and none shows a traceback."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest

from dativo import __version__
from dativo.cli import cli, run_command
from dativo.errors import DativoError

if TYPE_CHECKING:
    from pathlib import Path


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found += commands(command, (*path, name)) if isinstance(command, click.Group) else [(*path, name)]
    return found


@pytest.mark.parametrize("path", commands(cli), ids=" ".join)
def test_every_command_explains_itself(dativo: Any, path: tuple[str, ...]) -> None:
    result = dativo(*path, "--help")
    assert result.code == 0
    assert "Usage: dativo " + " ".join(path) in result.out


def test_the_version_is_the_distributions(dativo: Any) -> None:
    from importlib.metadata import version

    assert dativo("--version").out == f"dativo, version {version('dativo')}\n"
    assert version("dativo") == __version__


@pytest.mark.parametrize("module", ["dativo", "dativo_ingest.cli"])
def test_the_program_starts_under_both_names(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True)
    assert __version__ in done.stdout


def test_help_loads_nothing_heavy() -> None:
    code = "import sys, dativo.cli; print(sorted({m.split('.')[0] for m in sys.modules} & {'pydantic','yaml','rich','pyarrow','pyiceberg','meltano','msgspec'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DativoError("no such thing", "make one"), 2, "error: no such thing\n  make one"),
        (click.UsageError("give one"), 2, "give one"),
        (KeyboardInterrupt(), 130, "stopped"),
        (click.Abort(), 130, "stopped"),
    ],
)
def test_errors_have_exit_codes(capfd: Any, error: BaseException, code: int, said: str) -> None:
    def command(**_: object) -> int:
        raise error

    assert run_command(command, []) == code
    assert said in capfd.readouterr().err


def test_an_unexpected_error_goes_to_a_file(capfd: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def command(**_: object) -> int:
        raise ZeroDivisionError("by nothing")

    assert run_command(command, []) == 2
    err = capfd.readouterr().err
    assert "Traceback" not in err
    (file,) = (tmp_path / ".dativo").glob("crash-*.log")
    assert str(file) in err
    assert "by nothing" in file.read_text()
    assert "meltano: " in file.read_text()
    assert oct(file.stat().st_mode & 0o777) == "0o600"


def test_an_unknown_command_is_a_usage_error(dativo: Any) -> None:
    result = dativo("rum")
    assert result.code == 2
    assert "rum" in result.err


@pytest.mark.parametrize("arguments", [[], ["--config", "a.yaml", "--job-dir", "jobs"]])
def test_run_wants_either_files_or_a_directory(dativo: Any, arguments: list[str]) -> None:
    result = dativo("run", *arguments)
    assert result.code == 2
    assert "either --config or --job-dir" in result.err
