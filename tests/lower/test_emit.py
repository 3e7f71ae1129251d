"""Artefacts are written whole or not at all, and only when they change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from dativo.lower.emit import Artefact, differences, write_all, write_atomic

if TYPE_CHECKING:
    from pathlib import Path


def test_an_unchanged_artefact_is_not_written_again(tmp_path: Path) -> None:
    artefact = Artefact(tmp_path / "a" / "b.json", b"{}\n")
    assert write_all([artefact]) == 1
    before = artefact.path.stat().st_ino
    assert write_all([artefact]) == 0
    assert artefact.path.stat().st_ino == before


def test_a_failed_write_leaves_the_old_content_and_no_rubbish(tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text("old")
    with pytest.raises(TypeError):
        write_atomic(file, "no bytes")  # type: ignore[arg-type]
    assert file.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_check_shows_what_compile_would_change(tmp_path: Path) -> None:
    file = tmp_path / "meltano.yml"
    file.write_text("a: 1\nb: 2\n")
    (diff,) = differences([Artefact(file, b"a: 1\nb: 3\n")], base=tmp_path)
    assert "--- meltano.yml (as it is)" in diff
    assert "-b: 2\n+b: 3" in diff


def test_check_finds_a_missing_artefact(tmp_path: Path) -> None:
    (diff,) = differences([Artefact(tmp_path / "x.json", b"1\n")], base=tmp_path)
    assert "+1" in diff


def test_check_is_silent_when_everything_is_current(tmp_path: Path) -> None:
    artefact = Artefact(tmp_path / "x.json", b"1\n")
    write_all([artefact])
    assert differences([artefact], base=tmp_path) == []
