"""Named places of a run at which a test may end the process, as a power cut would, or hold it while something happens.

In production the variables are not set and a call costs two looks into a dictionary.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path

CRASH_AT_ENV = "DATIVO_TEST_CRASH_AT"
"""`<stage>` or `<stage>:<n>`: the n-th time that the stage is reached, counted from 1."""

HOLD_AT_ENV = "DATIVO_TEST_HOLD_AT"
"""`<stage>:<directory>`: there the process makes the file `reached` and waits for the file `go`."""

STAGES = (
    "start",
    "schema",
    "rows_staged",
    "checkpoint_files_closed",
    "checkpoint_written",
    "checkpoint_adopted",
    "end",
    "audited",
    "rejects_published",
    "deletes_written",
    "before_commit",
    "after_commit",
    "before_merge",
    "after_merge",
    "before_state",
    "after_state",
    "before_report",
    "after_report",
    "replay_published",
)
"""In the order in which a run passes them."""

_passed: Counter[str] = Counter()


def passing(stage: str) -> None:
    """Note that a run has come to a stage."""
    if (held := os.environ.get(HOLD_AT_ENV)) is not None:
        _hold(stage, held)
    wanted = os.environ.get(CRASH_AT_ENV)
    if wanted is None:
        return
    assert stage in STAGES, stage
    _passed[stage] += 1
    name, _, n = wanted.partition(":")
    if stage == name and _passed[stage] == int(n or "1"):
        os.kill(os.getpid(), signal.SIGKILL)


def _hold(stage: str, wanted: str) -> None:
    name, _, directory = wanted.partition(":")
    reached = Path(directory) / "reached"
    if stage != name or reached.exists():
        return
    reached.touch()
    while not (Path(directory) / "go").exists():
        time.sleep(0.02)
