"""Rejects: listed with what became of them, and replayed exactly once (protocol, rules 25 to 27)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from target_iceberg import lake
from target_iceberg.load_plan import Rule, dump

RULES = (Rule(name="orders.status.enum", kind="enum", columns=("status",), argument=["new", "paid"]),)


@pytest.fixture(params=["upsert", "append"])
def warned(target: Any, request: pytest.FixtureRequest) -> Any:
    stream = target.stream_plan(write_mode=request.param, replace_files=False, rules=RULES)
    target.plan = target.job_plan(stream, violations="warn")
    return target


def allow_old(target: Any) -> None:
    """The contract changes: what was refused is allowed now."""
    (stream,) = target.plan.streams
    rules = (msgspec.structs.replace(RULES[0], argument=["new", "paid", "old"]),)
    target.plan = msgspec.structs.replace(target.plan, streams=(msgspec.structs.replace(stream, rules=rules),))


def statuses(target: Any) -> list[str]:
    return [r.status for r in lake.rejects(target.plan)]


def replay(target: Any, corrections: Any = None, ids: Any = None, **options: Any) -> Any:
    wanted = (lambda _: True) if ids is None else (lambda r: r.id in ids)
    (done,) = lake.replay(target.plan, wanted, corrections or {}, **options)
    return done


def test_rejects_that_keep_a_changed_contract_are_loaded_once(warned: Any) -> None:
    warned.run([warned.order(1), warned.order(2, "old"), warned.order(3, "bad")], 1)
    assert statuses(warned) == ["open", "open"]
    allow_old(warned)
    assert replay(warned, dry_run=True).published == 1
    assert warned.ids() == [1]
    done = replay(warned)
    assert (done.published, done.still_broken) == (1, {"orders.status.enum": 1})
    assert warned.ids() == [1, 2]
    assert statuses(warned) == ["replayed", "open"]
    assert replay(warned).published == 0
    assert warned.ids() == [1, 2]
    row = next(r for r in warned.rows() if r["id"] == 2)
    assert (row["status"], str(row["amount"]), row["email"]) == (
        "old",
        "1.50",
        "***",
    )  # masked columns stay as they are
    assert warned.run([warned.order(9)], 2).code == 0  # the job's own bookmark has not moved
    assert warned.ids() == [1, 2, 9]


def test_corrections_replace_fields_and_are_judged(warned: Any) -> None:
    warned.run([warned.order(1, "odd"), warned.order(2, "odd")], 1)
    first, second = (r.id for r in lake.rejects(warned.plan))
    done = replay(warned, {first: {"status": "paid"}, second: {"status": "odder"}})
    assert (done.published, done.still_broken) == (1, {"orders.status.enum": 1})
    assert [(r["id"], r["status"]) for r in warned.rows()] == [(1, "paid")]


def test_a_withheld_reject_is_not_replayed_because_its_record_is_read_again(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False, rules=RULES))
    target.run([target.order(1), target.order(2, "old")], 1)
    assert statuses(target) == ["withheld"]
    allow_old(target)
    assert replay(target).published == 0
    target.run([target.order(1), target.order(2, "old")], 1)
    assert target.ids() == [1, 2]
    assert statuses(target) == []


def test_a_newer_row_of_the_key_stays(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False, rules=RULES), violations="warn")
    target.run([target.order(1), target.order(2), target.order(1, "old"), target.order(2, "old")], 1)
    target.run([target.order(1, "paid")], 2)  # after the reject
    allow_old(target)
    done = replay(target)
    assert (done.published, done.newer) == (1, 1)
    assert {r["id"]: r["status"] for r in target.rows()} == {1: "paid", 2: "old"}


def test_of_two_rejects_of_a_key_the_later_one_counts(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False, rules=RULES), violations="warn")
    target.run([target.order(1, "old"), target.order(1, "older")], 1)
    (stream,) = target.plan.streams
    target.plan = msgspec.structs.replace(target.plan, streams=(msgspec.structs.replace(stream, rules=()),))
    done = replay(target)
    assert (done.published, done.superseded) == (1, 1)
    assert [(r["id"], r["status"]) for r in target.rows()] == [(1, "older")]


def test_a_later_replace_closes_rejects(target: Any) -> None:
    target.plan = target.job_plan(
        target.stream_plan(write_mode="replace", replace_files=False, rules=RULES), violations="warn"
    )
    target.run([target.order(1), target.order(2, "old")], 1)
    assert statuses(target) == ["open"]
    target.run([target.order(1)], 2)
    assert statuses(target) == ["closed"]
    allow_old(target)
    assert replay(target).published == 0


def test_what_cannot_be_replayed_says_why(warned: Any) -> None:
    (stream,) = warned.plan.streams
    rules = (*RULES, Rule(name="orders.email.format", kind="format", columns=("email",), argument="email"))
    warned.plan = msgspec.structs.replace(warned.plan, streams=(msgspec.structs.replace(stream, rules=rules),))
    warned.run([warned.order(1, email="nobody"), b'{"type": "RECORD", "stream": "orders", "record": {"id": 1,}}\n'], 1)
    reasons = {r.not_replayable for r in lake.rejects(warned.plan)}
    assert reasons == {
        "the violated column 'email' is masked",
        "the record was no JSON object, or is masked as a whole",
    }
    assert sum(replay(warned).left_out.values()) == 2


REPLAY = """
import sys
from target_iceberg import lake, load_plan
for done in lake.replay(load_plan.read(sys.argv[1]), lambda r: True, {}):
    print(done.published, done.completed)
"""


def replay_in_a_process(target: Any, **environment: str) -> subprocess.Popen[str]:
    (target.root / "plan.json").write_bytes(dump(target.plan))
    return subprocess.Popen(
        [sys.executable, "-c", REPLAY, "plan.json"],
        cwd=target.root,
        env={**os.environ, **target.environment(**environment)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "stage", ["before_commit", "after_commit", "replay_published", "before_commit:2", "after_commit:2"]
)
def test_a_killed_replay_is_completed_and_doubles_nothing(warned: Any, stage: str) -> None:
    warned.run([warned.order(1), warned.order(2, "old"), warned.order(3, "old")], 1)
    allow_old(warned)
    replay_in_a_process(warned, DATIVO_TEST_CRASH_AT=stage).communicate(timeout=120)
    replay(warned)
    assert warned.ids() == [1, 2, 3]
    assert statuses(warned) == ["replayed", "replayed"]


def test_two_replays_at_once_load_each_reject_once(warned: Any) -> None:
    warned.run([warned.order(1), *(warned.order(i, "old") for i in range(2, 30))], 1)
    allow_old(warned)
    processes = [replay_in_a_process(warned) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=120)
    replay(warned)
    assert warned.ids() == list(range(1, 30))
    assert set(statuses(warned)) == {"replayed"}


def test_the_last_rejects_show_record_and_place(warned: Any) -> None:
    warned.run([warned.order(2, "old", file="b.csv", _sdc_source_lineno=7)], 1)
    (reject,) = lake.rejects(warned.plan)
    assert (reject.table, reject.rule, reject.value) == ("shop.orders", "orders.status.enum", '"old"')
    assert (reject.source_file, reject.source_record, reject.n) == ("b.csv", 7, 1)
    assert json.loads(reject.record)["email"] == "***"
