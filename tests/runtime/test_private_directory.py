"""A run's directory is its user's alone, and goes with the run or with the next one."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from dativo.errors import DativoError
from dativo.runtime import private_directory as subject

KILLED = """
import os, sys
from dativo.runtime.private_directory import private_directory
with private_directory(sys.argv[1], {"TMPDIR": sys.argv[2]}) as d:
    (d / "config.json").write_text("secret")
    print(d, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.fixture(autouse=True)
def _no_shared_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(subject, "SHARED_MEMORY", tmp_path / "no-such-place")


def test_only_its_user_can_look_into_it_and_it_is_gone_at_the_end(tmp_path: Path) -> None:
    with subject.private_directory("r1", {"TMPDIR": str(tmp_path)}) as directory:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert directory.parent == tmp_path
    assert not directory.exists()


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": ""}
    code = KILLED.replace(
        "import os, sys",
        "import os, sys\nimport dativo.runtime.private_directory as p, pathlib\np.SHARED_MEMORY = pathlib.Path('/nowhere')",
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "dead", str(tmp_path)], check=False, env=environ, stdout=subprocess.PIPE, text=True
    )
    left = Path(done.stdout.strip())
    assert (left / "config.json").exists()
    with subject.private_directory("r2", {"TMPDIR": str(tmp_path)}):
        assert not left.exists()


def test_the_directory_of_a_living_run_stays(tmp_path: Path) -> None:
    with subject.private_directory("r1", {"TMPDIR": str(tmp_path)}) as first:
        with subject.private_directory("r2", {"TMPDIR": str(tmp_path)}) as second:
            assert first != second
            assert first.exists()
        assert first.exists()


def test_little_shared_memory_means_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shm").mkdir()
    monkeypatch.setattr(subject, "SHARED_MEMORY", tmp_path / "shm")
    monkeypatch.setattr(subject, "MIN_FREE_BYTES", 1 << 60)
    with subject.private_directory("r1", {"TMPDIR": str(tmp_path)}) as directory:
        assert directory.parent == tmp_path
    monkeypatch.setattr(subject, "MIN_FREE_BYTES", 1)
    with subject.private_directory("r1", {"TMPDIR": str(tmp_path)}) as directory:
        assert directory.parent == tmp_path / "shm"


def test_what_spills_lies_on_the_disk_and_is_not_left_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shm").mkdir()
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(subject, "SHARED_MEMORY", tmp_path / "shm")
    with subject.private_directory("r1", {"TMPDIR": str(tmp_path / "disk")}) as directory:
        assert directory.parent == tmp_path / "shm"
        (directory / subject.SPILL / "file").touch()
        (on_disk,) = (tmp_path / "disk").iterdir()
        assert (on_disk / "file").exists()
        assert stat.S_IMODE(on_disk.stat().st_mode) == 0o700
        assert subject.dead(tmp_path / "disk") == []
    assert list(tmp_path.glob("*/*")) == []


def test_a_place_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    told = r"(?s)private directory cannot be made.*TMPDIR="
    with pytest.raises(DativoError, match=told), subject.private_directory("r1", {"TMPDIR": str(tmp_path / "file")}):
        pass
