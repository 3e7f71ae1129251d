"""However a run is stopped, nothing of it goes on, nothing of it is published, and the next one starts at once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

pytestmark = pytest.mark.smoke
RUN = ("run", "--config", "jobs/demo/orders.yaml", "--log-format", "json")


def waiting(project: Any, helpers: Any) -> tuple[subprocess.Popen[str], set[int]]:
    """A run whose tap has started and waits."""
    started = project.use_fakes("wait")
    process = project.start(*RUN)
    helpers.wait_for(started, process)
    return process, helpers.descendants(process.pid)


def report(project: Any) -> dict[str, Any]:
    file = max((project.root / "state/demo/orders/runs").glob("*.json"))
    document: dict[str, Any] = json.loads(file.read_text())
    return document


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_its_own_exit_code(project: Any, helpers: Any, number: int, code: int) -> None:
    process, children = waiting(project, helpers)
    assert len(children) >= 3
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in out + err
    helpers.wait_until_gone(children)
    last = helpers.events(err)[-1]
    assert (last["failure_class"], last["exit_code"]) == ("interrupted", code)
    assert report(project)["failure"]["message"].startswith(f"stopped by {signal.Signals(number).name}")


def test_killing_the_whole_run_leaves_no_process_no_lock_and_no_secret(project: Any, helpers: Any) -> None:
    process, children = waiting(project, helpers)
    process.kill()
    process.communicate()
    helpers.wait_until_gone(children)
    project.use_fakes("finish")
    job = project.root / "connectors/sources/fake.yaml"
    job.write_text(job.read_text().replace("act: wait", "act: finish"))
    assert project.run()["outcome"] == "published"
    mine = [d for d in Path("/dev/shm").glob(f"dativo-{os.getuid()}-*") if str(process.pid) in _owner(d)]
    assert mine == []


def _owner(directory: Path) -> str:
    return " ".join(p.name for p in directory.iterdir()) if directory.is_dir() else ""


def test_killing_meltano_alone_publishes_nothing(project: Any, helpers: Any) -> None:
    process, children = waiting(project, helpers)
    meltano = min(children)
    os.kill(meltano, signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    helpers.wait_until_gone(children)
    assert helpers.events(err)[-1]["outcome"] == "failed"
    assert report(project)["outcome"] == "failed"


def test_a_second_run_is_refused_while_the_first_goes_on(project: Any, helpers: Any) -> None:
    process, children = waiting(project, helpers)
    try:
        done = project.dativo(*RUN, code=2)
        assert f"already running (pid {process.pid}, run " in helpers.events(done.stderr)[-1]["message"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    helpers.wait_until_gone(children)
