"""Checkpoints: a run that was killed is gone on from, and whatever else happens nothing is lost or doubled."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from target_iceberg import lake
from target_iceberg.stages import CRASH_AT_ENV
from target_iceberg.table.journal import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = {"DATIVO_CHECKPOINT_EVERY_S": "0"}
SCHEMA = {"properties": {"id": {"type": "integer"}}}


def journal(target: Any) -> Path:
    folder: Path = target.root / "lake/acme/warehouse/_dativo/acme/orders"
    return folder


def checkpoints(target: Any) -> list[Path]:
    return sorted(journal(target).glob("*/checkpoint.json"))


def messages(target: Any, run: str, start: Any, *parts: Any, end: bool = True, streams: Any = ("orders",)) -> list[Any]:
    """A run: parts are lists of ids (records of the first stream), (stream, ids), or dicts (bookmarks of a STATE)."""
    sent: list[Any] = [{"type": "DATIVO_START", "run": run, "state": start}]
    sent += [{"type": "SCHEMA", "stream": s, "schema": SCHEMA, "key_properties": ["id"]} for s in streams]
    for part in parts:
        if isinstance(part, dict):
            sent.append({"type": "STATE", "value": part})
            continue
        stream, ids = part if isinstance(part, tuple) else (streams[0], part)
        sent += [{"type": "RECORD", "stream": stream, "record": target.order(i)} for i in ids]
    return [*sent, {"type": "DATIVO_END"}] if end else sent


def state(**bookmarks: Any) -> dict[str, Any]:
    return {"bookmarks": bookmarks}


def handed(target: Any) -> Any:
    """What the next tap would start from."""
    return lake.preflight(target.plan).state


@pytest.fixture(params=["append", "upsert"])
def plain(target: Any, request: pytest.FixtureRequest) -> Any:
    """A stream of no files, in both modes that go on."""
    target.plan = target.job_plan(target.stream_plan(write_mode=request.param, replace_files=False))
    return target


def test_a_run_goes_on_from_the_checkpoint_of_a_killed_one(plain: Any) -> None:
    first = messages(plain, "r1", {}, range(3), state(orders={"at": 2}), range(3, 5), end=False)
    assert plain.send(*first, **ALWAYS).code == 2
    assert plain.rows() == []
    assert handed(plain) == state(orders={"at": 2})
    done = plain.send(*messages(plain, "r2", handed(plain), range(3, 6), state(orders={"at": 5})))
    assert done.code == 0, done.stderr
    assert plain.ids() == [0, 1, 2, 3, 4, 5]
    assert plain.snapshots() == 1
    report = done.report.streams[0]
    assert (report.read, report.published) == (6, 6)  # with the records of the run that was killed
    assert any("went on from the checkpoint of run r1" in n for n in done.report.notices)
    assert not journal(plain).exists()
    assert handed(plain) == state(orders={"at": 5})


def test_the_next_checkpoint_touches_nothing_that_the_last_one_names(plain: Any) -> None:
    parts = [part for i in range(0, 12, 2) for part in (range(i, i + 2), state(orders={"at": i + 1}))]
    killed = messages(plain, "r1", {}, *parts, end=False)
    plain.send(*killed, **ALWAYS, **{CRASH_AT_ENV: "checkpoint_files_closed:5"})
    (file,) = checkpoints(plain)
    (named,) = json.loads(file.read_bytes())["streams"]["orders"]["manifests"].values()
    manifests = {m.name for m in file.parent.glob("*.avro")}
    assert named.rpartition("/")[2] in manifests
    assert len(manifests) == 3, "of the checkpoint, of the one before it, and of the one that was being written"
    assert handed(plain) == state(orders={"at": 7})
    done = plain.send(*messages(plain, "r2", handed(plain), range(8, 10), state(orders={"at": 9})))
    assert done.code == 0, done.stderr
    assert plain.ids() == list(range(10))


def test_a_run_with_nothing_new_publishes_what_a_killed_one_had_staged(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    done = plain.send(*messages(plain, "r2", handed(plain), state(orders={"at": 2})))
    assert (done.code, done.report.outcome) == (0, "published"), done.stderr
    assert plain.ids() == [0, 1, 2]


def test_a_second_kill_goes_on_from_the_second_checkpoint(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    plain.send(*messages(plain, "r2", handed(plain), range(3, 6), state(orders={"at": 5}), end=False), **ALWAYS)
    assert [c.parent.name for c in checkpoints(plain)] == ["r2"]  # one holder at a time
    assert handed(plain) == state(orders={"at": 5})
    done = plain.send(*messages(plain, "r3", handed(plain), [6], state(orders={"at": 6})))
    assert plain.ids() == list(range(7)), done.stderr


def test_who_starts_from_the_lake_all_the_same_does_not_get_the_staged_rows(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    done = plain.send(*messages(plain, "r2", {}, range(6), state(orders={"at": 5})))
    assert done.code == 0, done.stderr
    assert plain.ids() == list(range(6))
    assert not journal(plain).exists()


def test_a_checkpoint_is_of_no_use_once_somebody_else_has_published(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    before = handed(plain)
    keep = checkpoints(plain)[0].parent
    plain.send(*messages(plain, "r2", {}, range(6), state(orders={"at": 5})))
    keep.mkdir(parents=True)
    late = plain.send(*messages(plain, "r3", before, range(3, 6), state(orders={"at": 5})))
    assert late.code == 2
    assert late.report.failure.failure_class == "overtaken"
    assert plain.ids() == list(range(6))


def test_two_runs_that_go_on_from_one_checkpoint_publish_it_once_and_delete_nothing_of_it(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    start = handed(plain)
    kept = checkpoints(plain)[0].parent
    copy = {f.name: f.read_bytes() for f in kept.iterdir()}
    assert plain.send(*messages(plain, "r2", start, [3], state(orders={"at": 3}), end=False), **ALWAYS).code == 2
    kept.mkdir(parents=True, exist_ok=True)  # as a run on another machine has read it before
    for name, content in copy.items():
        (kept / name).write_bytes(content)
    assert plain.send(*messages(plain, "r3", start, [3], state(orders={"at": 3}))).code == 0
    assert plain.ids() == [0, 1, 2, 3]


@pytest.mark.parametrize("why", ["plan", "old", "gone", "not resumable", "in progress"])
def test_a_checkpoint_that_does_not_fit_is_not_handed_out(plain: Any, why: str) -> None:
    bookmark = {"at": 2, "progress_markers": {"x": 1}} if why == "in progress" else {"at": 2}
    plain.send(*messages(plain, "r1", {}, range(3), state(orders=bookmark), end=False), **ALWAYS)
    (file,) = checkpoints(plain)
    if why == "plan":
        (stream,) = plain.plan.streams
        plain.plan = plain.job_plan(msgspec.structs.replace(stream, rules=()))
    elif why == "not resumable":
        (stream,) = plain.plan.streams
        plain.plan = plain.job_plan(msgspec.structs.replace(stream, resumable=False))
    elif why == "old":
        checkpoint = msgspec.json.decode(file.read_bytes(), type=Checkpoint)
        old = msgspec.structs.replace(checkpoint, written_at=checkpoint.written_at - dt.timedelta(hours=25))
        file.write_bytes(msgspec.json.encode(old))
    elif why == "gone":
        next((plain.root / "lake/acme/warehouse/shop").rglob("*.parquet")).unlink()
    assert handed(plain) == {}
    done = plain.send(*messages(plain, "r2", {}, range(4), state(orders={"at": 3})))
    assert done.code == 0, done.stderr
    assert plain.ids() == [0, 1, 2, 3]


def test_streams_that_cannot_go_on_start_over_and_the_others_do_not(target: Any) -> None:
    def streams(**more: Any) -> Any:
        return target.stream_plan(replace_files=False, write_mode="append", rules=(), **more)

    target.plan = target.job_plan(streams(), streams(stream="payments", table="payments", resumable=False))
    both = ("orders", "payments")
    seen = state(orders={"at": 1}, payments={"at": 1})
    parts = (range(2), ("payments", range(2)), seen)
    target.send(*messages(target, "r1", {}, *parts, end=False, streams=both), **ALWAYS)
    assert handed(target) == state(orders={"at": 1})
    again = ([2], ("payments", range(3)), state(orders={"at": 2}, payments={"at": 2}))
    done = target.send(*messages(target, "r2", handed(target), *again, streams=both))
    assert done.code == 0, done.stderr
    assert target.ids() == [0, 1, 2]
    assert sorted(r["id"] for r in target.rows("shop.payments")) == [0, 1, 2]


def test_a_state_that_is_one_unit_goes_on_as_a_whole_or_not_at_all(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), {"cursor": 2}, end=False), **ALWAYS)
    assert handed(plain) == {"cursor": 2}
    done = plain.send(*messages(plain, "r2", {"cursor": 2}, [3], {"cursor": 3}))
    assert done.code == 0, done.stderr
    assert plain.ids() == [0, 1, 2, 3]
    assert plain.state() == {"cursor": 3}


def test_rejects_and_counts_go_on_too(plain: Any) -> None:
    plain.plan = plain.job_plan(*plain.plan.streams, violations="warn")
    first = messages(plain, "r1", {}, range(3), end=False)
    first.append({"type": "RECORD", "stream": "orders", "record": plain.order(9, "lost")})
    first.append({"type": "STATE", "value": state(orders={"at": 2})})
    plain.send(*first, **ALWAYS)
    done = plain.send(*messages(plain, "r2", handed(plain), [3], state(orders={"at": 3})))
    assert done.report.exit_code == 1, done.stderr
    report = done.report.streams[0]
    assert (report.read, report.published, report.rejected) == (5, 4, 1)
    assert [r["rule"] for r in plain.rows("shop.orders__rejects")] == ["orders.status.enum"]


def test_a_run_whose_contract_was_broken_leaves_no_checkpoint(plain: Any) -> None:
    bad = plain.order(9, "lost")
    first = messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False)
    first += [{"type": "RECORD", "stream": "orders", "record": bad}, {"type": "DATIVO_END"}]
    assert plain.send(*first, **ALWAYS).report.outcome == "withheld"
    assert not journal(plain).exists()
    assert handed(plain) == {}


def test_a_publish_that_was_killed_is_completed_under_its_commit_id(plain: Any) -> None:
    first = messages(plain, "r1", {}, range(3), state(orders={"at": 2}), range(3, 5), state(orders={"at": 4}))
    plain.send(*first, **ALWAYS, DATIVO_TEST_CRASH_AT="before_commit:1")
    assert plain.rows() == []
    commit_id = json.loads(checkpoints(plain)[0].read_bytes())["commit_id"]
    assert commit_id
    done = plain.send(*messages(plain, "r2", handed(plain)))
    assert done.report.commit_id == commit_id
    assert plain.ids() == [0, 1, 2, 3, 4]
    assert done.report.streams[0].published == 5


def test_a_checkpoint_that_cannot_be_written_does_not_stop_the_run(plain: Any) -> None:
    journal(plain).parent.mkdir(parents=True)
    journal(plain).write_text("a file where a directory should be")
    done = plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2})), **ALWAYS)
    assert done.code == 0
    assert "checkpoint_not_written" in done.stderr
    assert plain.ids() == [0, 1, 2]


def test_a_dry_run_neither_writes_nor_takes_a_checkpoint(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    before = sorted(p.read_bytes() for p in journal(plain).rglob("*") if p.is_file())
    dry = messages(plain, "r2", handed(plain), [3], state(orders={"at": 3}))
    result = plain.send(*dry, **ALWAYS, DATIVO_DRY_RUN="1")
    assert (result.code, result.report.outcome) == (0, "dry_run"), result.stderr
    assert result.report.streams[0].read == 4
    assert before == sorted(p.read_bytes() for p in journal(plain).rglob("*") if p.is_file())
    done = plain.send(*messages(plain, "r3", handed(plain), [3], state(orders={"at": 3})))
    assert plain.ids() == [0, 1, 2, 3], done.stderr


def test_clean_keeps_what_a_checkpoint_names_and_removes_it_with_the_checkpoint(plain: Any) -> None:
    plain.send(*messages(plain, "r1", {}, range(3), state(orders={"at": 2}), end=False), **ALWAYS)
    assert lake.clean(plain.plan, older_than_s=-1, delete=True) == []
    (file,) = checkpoints(plain)
    checkpoint = msgspec.json.decode(file.read_bytes(), type=Checkpoint)
    old = msgspec.structs.replace(checkpoint, written_at=checkpoint.written_at - dt.timedelta(hours=25))
    file.write_bytes(msgspec.json.encode(old))
    (found,) = lake.clean(plain.plan, older_than_s=-1, delete=True)
    assert len(found.paths) == 1
    assert not file.exists()


def test_a_stream_that_another_run_published_while_this_one_ran_is_not_published_again(target: Any) -> None:
    """A stream is opened when its first record comes, which may be long after the run began."""
    both = ("orders", "payments")
    streams = [target.stream_plan(stream=s, table=s, replace_files=False, write_mode="append", rules=()) for s in both]
    target.plan = target.job_plan(*streams)
    import subprocess

    process = subprocess.Popen(
        target.command(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=target.root,
        env=target.environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stderr is not None
    *head, end = messages(target, "r1", {}, range(2), streams=both)
    process.stdin.write(b"".join(json.dumps(m).encode() + b"\n" for m in head))
    process.stdin.flush()
    while b'"progress"' not in (line := process.stderr.readline()):
        assert line, process.communicate()
    other = messages(target, "r2", {}, ("payments", range(3)), state(payments={"at": 3}), streams=both)
    assert target.send(*other).code == 0
    late = {"type": "RECORD", "stream": "payments", "record": target.order(0)}
    rest = [late, {"type": "STATE", "value": state(orders={"at": 2}, payments={"at": 1})}, end]
    process.communicate(b"".join(json.dumps(m).encode() + b"\n" for m in rest))
    assert process.returncode == 2
    assert sorted(r["id"] for r in target.rows("shop.payments")) == [0, 1, 2]


@pytest.mark.parametrize("before", [True, False], ids=["also before the checkpoint", "after it"])
def test_deletions_go_on_too(target: Any, before: bool) -> None:
    target.plan = target.job_plan(target.stream_plan(replace_files=False, hard_delete=True))
    at = {"type": "RECORD", "stream": "orders"}
    target.send(*messages(target, "r0", {}, range(4), state(orders={"at": 0})))
    schema = {"properties": {**SCHEMA["properties"], "_sdc_deleted_at": {"type": ["null", "string"]}}}

    def deletion(i: int) -> dict[str, Any]:
        return {**at, "record": {**target.order(i), "_sdc_deleted_at": "2026-01-01T00:00:00Z"}}

    def run(name: str, *sent: Any) -> list[Any]:
        start = {"type": "DATIVO_START", "run": name, "state": handed(target)}
        return [start, {"type": "SCHEMA", "stream": "orders", "schema": schema, "key_properties": ["id"]}, *sent]

    mark = {"type": "STATE", "value": state(orders={"at": 1})}
    first = deletion(1) if before else {**at, "record": target.order(9)}
    assert target.send(*run("r1", first, mark), **ALWAYS).code == 2
    assert handed(target) == state(orders={"at": 1})
    end = [{"type": "STATE", "value": state(orders={"at": 2})}, {"type": "DATIVO_END"}]
    done = target.send(*run("r2", deletion(2), *end))
    assert done.code == 0, done.stderr
    assert any("went on from the checkpoint" in n for n in done.report.notices)
    assert target.ids() == ([0, 3] if before else [0, 1, 3, 9])
