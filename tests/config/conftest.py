"""Small projects in directories of their own."""

from __future__ import annotations

from collections.abc import Callable
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from dativo.config.project import Project

if TYPE_CHECKING:
    from pathlib import Path

MakeProject = Callable[[dict[str, str]], Project]


@pytest.fixture
def project(tmp_path: Path) -> MakeProject:
    """Writes files (path -> text) and returns the project of them."""

    def make(files: dict[str, str]) -> Project:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip("\n"), encoding="utf-8")
        return Project(tmp_path)

    return make
