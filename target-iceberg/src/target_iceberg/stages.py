"""Named places of a run at which a test may end the process, as a power cut would.

In production the variable is not set and a call costs one look into a dictionary.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

CRASH_AT_ENV = "DATIVO_TEST_CRASH_AT"
"""`<stage>` or `<stage>:<n>`: the n-th time that the stage is reached, counted from 1."""

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
    wanted = os.environ.get(CRASH_AT_ENV)
    if wanted is None:
        return
    assert stage in STAGES, stage
    _passed[stage] += 1
    name, _, n = wanted.partition(":")
    if stage == name and _passed[stage] == int(n or "1"):
        os.kill(os.getpid(), signal.SIGKILL)
