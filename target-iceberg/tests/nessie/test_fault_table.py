"""Whatever goes wrong while a run publishes: before or after, nothing between; a message that helps; and the next run is whole."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_iceberg import lake

sys.path.insert(0, str(Path(__file__).parent))
from faults import ENDS_WITHIN_S, FAULTS, Trial, last_event

from target_iceberg.table.one_step import ABANDONED_AFTER, PREFIX, abandoned_branches

if TYPE_CHECKING:
    from collections.abc import Iterator

OWN_SERVERS = ("catalog_killed_before_the_merge", "catalog_killed_before_a_commit", "store_killed_before_a_commit")
REPORT = os.environ.get("DATIVO_FAULTS_REPORT")


@pytest.fixture(scope="module")
def stack(own_stack: Any) -> Any:
    return own_stack()


@pytest.fixture
def trial(request: pytest.FixtureRequest, job_on: Any, toxiproxy: Any, tmp_path: Path) -> Iterator[Trial]:
    killed = request.node.callspec.params["name"] in OWN_SERVERS
    own = request.getfixturevalue("stack") if killed else None
    servers = own.servers if own else request.getfixturevalue("servers")
    made = Trial(job_on(servers), toxiproxy, own, tmp_path)
    made.prepare()
    yield made
    for close in made.closing:
        close()


@pytest.mark.fault
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_ends_as_it_should(trial: Trial, name: str) -> None:
    fault = FAULTS[name]
    before = set(_messages(trial.job))
    done = fault.act(trial)
    took_s = trial.took_s
    assert took_s < ENDS_WITHIN_S
    assert "Traceback" not in done.err
    assert trial.job.servers.secret_key not in done.err + done.out
    trial.direct()
    seen = _rows(trial)
    if fault.ending == "recovers":
        assert done.code in (0, -9), done.err
        assert seen == _wanted(trial), done.err
    elif fault.ending == "overtaken":
        assert done.code == 2, done.err
        assert last_event(done)["failure_class"] in ("overtaken", "conflict"), done.err
        assert last_event(done)["retryable"]
    elif done.code != -9:
        assert done.code == 2, done.err
        said = last_event(done)
        assert said["retryable"] == (fault.ending == "withheld, retry"), said
        assert any(word in said["message"] for word in ("127.0.0.1", trial.job.branch, trial.job.namespace)), said
        assert any(
            word in said["message"]
            for word in ("run again", "check", "Run again", "make it", "answer", "change the contract")
        ), said
        assert seen == {"orders": [1], "returns": [1]}
    if fault.where == "others" and fault.ending == "overtaken" and not seen.get("orders"):
        trial.state = {}  # what was dropped has to be read again
    if trial.mend is not None:
        trial.mend()
    again = _again(trial)
    assert again.code == 0, again.err
    assert _rows(trial) == _wanted(trial)
    assert len(set(_messages(trial.job)) - before) <= 4
    left = abandoned_branches(trial.job.catalog(), dt.datetime.now(tz=dt.timezone.utc) + 2 * ABANDONED_AFTER)
    own = {f"{PREFIX}{run_id}" for run_id in trial.job.run_ids}
    for branch in trial.job.catalog().branches(PREFIX):
        assert branch.name not in own or branch in left, "a branch that dativo clean does not find"
    _report(fault, done, took_s)


def _again(trial: Trial) -> Any:
    """The next run: a tap that goes on from what the lake says."""
    for wrong in ("DATIVO_TEST_CRASH_AT", "LD_PRELOAD", "SKEW_S"):
        trial.environment.pop(wrong, None)
    held = (lake.preflight(trial.plan()).state.get("bookmarks") or {}).get("orders")
    if held == {"at": 2}:
        return trial.job.run(trial.plan(), {"orders": [], "returns": []}, 2)
    if held is None:  # a tap without a bookmark begins at the beginning
        everything = {
            "orders": [{"id": n, "status": "new"} for n in (1, 2)],
            "returns": [{"id": n, "status": "new"} for n in (1, 2)],
        }
        return trial.job.run(trial.plan(), everything, 2)
    return trial.bring(state=lake.preflight(trial.plan()).state)


def _wanted(trial: Trial) -> dict[str, list[int]]:
    return {"orders": list(range(1, 5_002)) if trial.note else [1, 2], "returns": [1, 2]}


def _rows(trial: Trial) -> dict[str, list[int]]:
    tables = ("orders", "returns")
    if trial.job.catalog().reference(trial.job.branch) is None:
        return {table: [] for table in tables}
    there = {name for _, name in trial.job.catalog().list_tables((trial.job.namespace,))}
    return {table: sorted(trial.job.rows(table)) if table in there else [] for table in tables}


def _messages(job: Any) -> list[str]:
    return [] if job.catalog().reference(job.branch) is None else list(job.history())


def _report(fault: Any, done: Any, took_s: float) -> None:
    if REPORT is None:
        return
    said = last_event(done)
    if done.code == 0:
        observed = "0: all rows, once"
    elif done.code == -9:
        observed = "killed; what it had published counts" if fault.ending == "recovers" else "killed; nothing is seen"
    else:
        observed = f"{done.code}, retryable: {'yes' if said['retryable'] else 'no'}, {said['failure_class']}; nothing of it is seen"
    row = {
        "where": fault.where,
        "fault": fault.title,
        "run": observed,
        "next": "0: whole",
        "seconds": round(took_s, 1),
    }
    with Path(REPORT).open("a") as file:
        file.write(json.dumps(row) + "\n")
