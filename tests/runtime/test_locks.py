"""One run of a job at a time, and a killed one does not block the next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from dativo.runtime.locks import JobIsRunning, job_lock

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys, pathlib
from dativo.runtime.locks import job_lock
with job_lock(pathlib.Path(sys.argv[1]), job="acme/orders", run_id="r-first"):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(file: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_is_refused_and_told_by_whom(tmp_path: Path) -> None:
    file = tmp_path / "state" / ".lock"
    with holder(file) as process:
        told = rf"acme/orders is already running \(pid {process.pid}, run r-first\)"
        with pytest.raises(JobIsRunning, match=told), job_lock(file, job="acme/orders", run_id="r-second"):
            pass
        process.communicate()


def test_a_killed_run_leaves_no_lock_behind(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with holder(file) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with job_lock(file, job="acme/orders", run_id="r-next"):
        assert json.loads(file.read_text()) == {"pid": os.getpid(), "run_id": "r-next"}


def test_the_lock_can_be_taken_again_after_it_was_released(tmp_path: Path) -> None:
    for run_id in ("a", "b"):
        with job_lock(tmp_path / ".lock", job="j", run_id=run_id):
            pass
