"""The process group of a run: what it may see, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dativo.runtime.process import Meltano, base_environment
from target_iceberg.run_report import new_run_id


def test_children_see_what_is_allowed_and_nothing_else() -> None:
    env = base_environment(
        {
            "PATH": "/usr/bin", "HOME": "/h", "LC_ALL": "C", "HTTPS_PROXY": "p", "no_proxy": "q", "DATIVO_X": "1",
            "TAP_CSV_PASSWORD": "leak", "AWS_SECRET_ACCESS_KEY": "leak", "PYTHONPATH": "/x",
        }
    )  # fmt: skip
    assert set(env) == {"PATH", "HOME", "LC_ALL", "HTTPS_PROXY", "no_proxy", "DATIVO_X"}
    assert env["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/usr/bin"]


def test_run_ids_are_version_7_and_sort_by_time() -> None:
    first, second = new_run_id(), new_run_id()
    assert first[14] == "7"
    assert first[19] in "89ab"
    assert first[:13] <= second[:13]


def test_a_child_that_is_told_what_to_do_is_meltano(tmp_path: Path) -> None:
    child = Meltano(os.environ)
    child.start(["--version"], env=base_environment(os.environ), cwd=tmp_path)
    output = list(child.lines())
    assert child.wait() == 0
    child.close()
    assert any("meltano" in line for line in output)


def test_a_child_that_is_told_nothing_goes_quietly() -> None:
    child = Meltano(os.environ)
    child.discard()
    with pytest.raises(ProcessLookupError):
        os.killpg(child.group, 0)


ORPHAN = """
import os, sys, time
from dativo.runtime.process import Meltano
child = Meltano(os.environ)
print(child.group, flush=True)
time.sleep(600)
"""


def test_the_child_dies_with_its_parent_even_when_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    group = int(parent.stdout.readline())
    descriptor = os.pidfd_open(group)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    import select

    ready, _, _ = select.select([descriptor], [], [], 20)
    os.close(descriptor)
    assert ready
