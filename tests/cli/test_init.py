"""`dativo init` makes a project that is valid as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dativo.commands.init import FILES

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_new_project_compiles(dativo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = dativo("init", tmp_path / "my lake")
    assert result.code == 0
    assert "dativo run --config jobs/example/orders.yaml" in result.out
    monkeypatch.chdir(tmp_path / "my lake")
    assert dativo("compile").code == 0


def test_nothing_is_overwritten(dativo: Any, tmp_path: Path) -> None:
    dativo("init", tmp_path)
    (tmp_path / "data/orders/orders.csv").write_text("mine")
    result = dativo("init", tmp_path)
    assert result.code == 2
    assert "already has" in result.err
    assert (tmp_path / "data/orders/orders.csv").read_text() == "mine"


def test_secrets_lake_and_state_are_kept_out_of_git() -> None:
    assert {"/secrets/", "/lake/", "/state/"} <= set(FILES[".gitignore"].splitlines())
