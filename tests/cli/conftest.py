"""Projects on disk and the command line in this process."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dativo.cli import cli, run_command

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Result:
    """What one command did."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


@pytest.fixture
def dativo(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Call the command line; no command may ever show a traceback."""

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = run_command(cli.main, [str(a) for a in arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Result(code, out, err)

    return call


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the demo project, which is also the working directory."""
    root = tmp_path / "my project"
    for name in ("jobs/demo", "assets/csv", "examples"):
        shutil.copytree(ROOT / name, root / name)
    monkeypatch.chdir(root)
    return root
