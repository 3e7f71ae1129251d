"""Whole runs of the target, as a process: what is published, what is not, and what the report says."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest

from target_iceberg.singer.ledger import Ledger
from target_iceberg.singer.run import Run
from target_iceberg.singer.settings import from_config
from target_iceberg.table.lake_catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_STATE = {"files": {"a.csv": {"size": 1, "modified": "2026-01-01T00:00:00Z", "sha256": "00", "records": 3}}}


def counts(result: Any) -> dict[str, int]:
    """Counts of the only stream of a report."""
    s = result.report.streams[0]
    return {k: getattr(s, k) for k in ("read", "published", "rejected", "superseded", "withheld") if getattr(s, k)}


def test_a_clean_run_publishes_rows_state_and_report(target: Any) -> None:
    result = target.run([target.order(i) for i in range(3)], FILE_STATE)
    assert result.code == 0, result.stderr
    assert target.ids() == [0, 1, 2]
    assert result.states == [{"bookmarks": {"orders": FILE_STATE}}]
    assert result.report.outcome == "published"
    assert counts(result) == {"read": 3, "published": 3}
    assert target.state() == {"bookmarks": {"orders": FILE_STATE}}


def test_end_of_file_without_the_end_mark_publishes_nothing(target: Any) -> None:
    result = target.run([target.order(1)], FILE_STATE, end=False)
    assert result.code == 2
    assert target.rows() == []
    assert result.states == []
    assert result.report.failure.failure_class == "incomplete"
    assert not list(target.root.rglob("*.parquet"))  # staged files are gone


def test_nothing_new_makes_no_snapshot(target: Any) -> None:
    target.run([target.order(1)], FILE_STATE)
    again = target.run([], FILE_STATE)
    assert (again.code, again.report.outcome) == (0, "unchanged")
    assert target.snapshots() == 1


def test_a_bookmark_that_moves_without_rows_is_a_snapshot(target: Any) -> None:
    target.run([target.order(1)], FILE_STATE)
    moved = {"files": {**FILE_STATE["files"], "empty.csv": {"size": 0, "sha256": "e", "records": 0}}}
    assert target.run([], moved).code == 0
    assert target.snapshots() == 2
    assert target.state() == {"bookmarks": {"orders": moved}}
    assert target.ids() == [1]


def test_strict_withholds_all_data_and_publishes_the_rejects(target: Any) -> None:
    result = target.run(
        [target.order(1), target.order(2, "lost"), target.order(3, amount="-1"), target.order("x")], FILE_STATE
    )
    assert result.code == 2
    assert target.rows() == []
    assert result.report.outcome == "withheld"
    assert counts(result) == {"read": 4, "rejected": 3, "withheld": 1}
    rejects = target.rows("shop.orders__rejects")
    assert sorted(r["rule"] for r in rejects) == ["orders.amount.minimum", "orders.id.type", "orders.status.enum"]
    assert {r["n"] for r in rejects} == {1}
    assert {r["source_file"] for r in rejects} == {"a.csv"}
    assert target.state() == {}  # the bookmark did not move


def test_warn_publishes_the_good_rows_and_exits_one(target: Any) -> None:
    target.plan = target.job_plan(violations="warn")
    result = target.run([target.order(1), target.order(2, "lost")], FILE_STATE)
    assert (result.code, result.report.outcome) == (
        0,
        "partial",
    )  # the target did its work; the report makes it exit code 1
    assert result.report.exit_code == 1
    assert target.ids() == [1]
    assert counts(result) == {"read": 2, "published": 1, "rejected": 1}


@pytest.mark.parametrize("limit", [{"max_rejected_rows": 1}, {"max_rejected_percent": 10.0}])
def test_a_flood_of_rejects_withholds_a_warn_run(target: Any, limit: dict[str, Any]) -> None:
    target.plan = target.job_plan(violations="warn", **limit)
    result = target.run([target.order(1), target.order(2, "lost"), target.order(3, "lost")])
    assert result.report.outcome == "withheld"
    assert target.rows() == []


def test_values_of_classified_columns_are_in_no_reject_and_no_log(target: Any) -> None:
    result = target.run([target.order(2, "lost"), target.order("x"), target.order(4, email=5)])
    text = json.dumps(target.rows("shop.orders__rejects"), default=str) + result.stderr + json.dumps(str(result.report))
    assert "@example.com" not in text
    assert "***" in text


def test_rejects_of_a_withheld_run_are_taken_away_when_the_records_were_read_again(target: Any) -> None:
    target.run([target.order(1), target.order(2, "lost")], FILE_STATE)
    target.run([target.order(1), target.order(2, "lost")], FILE_STATE)
    assert len(target.rows("shop.orders__rejects")) == 1
    target.run([target.order(1), target.order(2)], FILE_STATE)
    assert target.rows("shop.orders__rejects") == []
    assert target.ids() == [1, 2]


def test_a_run_from_a_state_that_the_lake_no_longer_holds_is_overtaken(target: Any) -> None:
    before = target.state()
    target.run([target.order(1)], FILE_STATE)
    newer = {"files": {**FILE_STATE["files"], "b.csv": {"size": 9, "sha256": "b"}}}
    target.run([target.order(2, file="b.csv")], newer)
    late = target.run([target.order(1)], FILE_STATE, start={"bookmarks": {"orders": FILE_STATE}})
    assert late.code == 2
    assert late.report.failure.failure_class == "overtaken"
    assert late.report.failure.retryable
    empty = target.run([target.order(1)], FILE_STATE, start=before)
    assert empty.report.failure.failure_class == "refused"
    assert "--full-refresh" in empty.report.failure.message
    assert target.ids() == [1, 2]


def test_a_full_refresh_replaces_the_table(target: Any) -> None:
    target.run([target.order(1), target.order(2)], FILE_STATE)
    target.plan = target.job_plan(target.stream_plan(write_mode="replace"))
    assert target.run([target.order(3)], FILE_STATE, start={}).code == 0
    assert target.ids() == [3]


def test_a_replace_without_rows_keeps_the_table_unless_allowed(target: Any) -> None:
    target.run([target.order(1)], FILE_STATE)
    target.plan = target.job_plan(target.stream_plan(write_mode="replace"))
    kept = target.run([], start={})
    assert "keeps its rows" in kept.report.streams[0].notices[0]
    assert target.ids() == [1]
    target.plan = target.job_plan(target.stream_plan(write_mode="replace", allow_empty=True))
    target.run([], start={})
    assert target.ids() == []


def test_a_replace_of_which_all_rows_are_rejected_says_so(target: Any) -> None:
    target.run([target.order(1)], FILE_STATE)
    target.plan = target.job_plan(target.stream_plan(write_mode="replace"), violations="warn")
    kept = target.run([{**target.order(2), "id": "x"}], FILE_STATE, start={})
    assert kept.report.streams[0].rejected == 1
    assert "all rows were rejected: the table keeps its rows" in kept.report.streams[0].notices[0]
    assert target.ids() == [1]


@pytest.mark.parametrize("allow_empty", [False, True])
def test_a_replace_that_strict_withholds_speaks_of_its_reject_alone(target: Any, *, allow_empty: bool) -> None:
    target.run([target.order(1)], FILE_STATE)
    target.plan = target.job_plan(target.stream_plan(write_mode="replace", allow_empty=allow_empty))
    kept = target.run([target.order(2), {**target.order(3), "id": "x"}], FILE_STATE, start={})
    assert counts(kept) == {"read": 2, "rejected": 1, "withheld": 1}
    assert kept.report.streams[0].notices == []
    assert target.ids() == [1]


def test_a_replace_without_schema_is_refused(target: Any) -> None:
    target.run([target.order(1)], FILE_STATE)
    target.plan = target.job_plan(target.stream_plan(write_mode="replace"))
    result = target.run([], start={}, schema=False)
    assert "no SCHEMA came" in result.report.failure.message
    assert target.ids() == [1]


@pytest.mark.parametrize(("violations", "outcome", "code"), [("warn", "dry_run", 1), ("strict", "withheld", 2)])
def test_a_dry_run_counts_and_writes_nothing(target: Any, violations: str, outcome: str, code: int) -> None:
    target.plan = target.job_plan(violations=violations)
    records = [target.order(1), target.order(1), target.order(2, "lost")]
    result = target.run(records, FILE_STATE, DATIVO_DRY_RUN="1")
    assert (result.report.outcome, result.report.exit_code, result.report.dry_run) == (outcome, code, True)
    assert target.rows() == []
    assert target.rows("shop.orders__rejects") == []
    assert result.states == []
    assert not list(target.root.rglob("*.parquet"))


def test_the_last_row_of_a_key_wins_and_the_others_are_counted(target: Any) -> None:
    result = target.run([target.order(1, "new"), target.order(1, "paid"), target.order(2)], FILE_STATE)
    assert counts(result) == {"read": 3, "published": 2, "superseded": 1}
    assert {r["id"]: r["status"] for r in target.rows()} == {1: "paid", 2: "new"}


def test_a_changed_file_replaces_its_rows_and_a_new_one_adds_its_own(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(key=(), write_mode="append"))
    target.run([target.order(1), target.order(2)], FILE_STATE)
    changed = {"files": {"a.csv": {"size": 2, "sha256": "11"}, "b.csv": {"size": 3, "sha256": "22"}}}
    result = target.run([target.order(2), target.order(5), target.order(7, file="b.csv")], changed)
    assert result.report.streams[0].rows_replaced == 2
    assert target.ids() == [2, 5, 7]


def test_rows_after_the_last_state_of_an_append_are_held_back(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(key=(), write_mode="append", replace_files=False))
    state = {"type": "STATE", "value": {"bookmarks": {"orders": {"cursor": 2}}}}
    result = target.run([target.order(1), target.order(2), state, target.order(3)])
    assert result.code == 0, result.stderr
    assert target.ids() == [1, 2]
    assert counts(result) == {"read": 3, "published": 2, "withheld": 1}
    target.run([target.order(3)], {"cursor": 3})
    assert target.ids() == [1, 2, 3]


def test_a_record_that_the_tap_could_not_shape_is_a_reject(target: Any) -> None:
    target.plan = target.job_plan(violations="warn")
    ragged = {
        "type": "DATIVO_REJECT",
        "stream": "orders",
        "rule": "csv.ragged_row",
        "column": None,
        "message": "4 fields, expected 3",
        "record": {"raw": "1,2,3,4"},
        "source": {"file": "a.csv", "record": 7, "line": 9},
    }
    result = target.run([target.order(1), ragged], FILE_STATE)
    assert counts(result) == {"read": 2, "published": 1, "rejected": 1}
    (reject,) = target.rows("shop.orders__rejects")
    assert (reject["rule"], reject["source_file"], reject["source_record"]) == ("orders.csv.ragged_row", "a.csv", 7)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_nothing(target: Any, number: int) -> None:
    process = subprocess.Popen(
        target.command(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=target.root,
        env=target.environment(),
    )
    assert process.stdin is not None
    assert process.stderr is not None
    start = {"type": "DATIVO_START", "run": "r", "state": {}}
    for message in (start, target.schema, {"type": "RECORD", "stream": "orders", "record": target.order(1)}):
        process.stdin.write(json.dumps(message).encode() + b"\n")
    process.stdin.flush()
    while b'"progress"' not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(number)
    out, err = process.communicate()
    assert process.returncode == 128 + number
    assert b"Traceback" not in err
    assert out == b""
    assert target.rows() == []


def test_what_libraries_print_does_not_reach_stdout(target: Any) -> None:
    code = "import target_iceberg.table.stage as r; old = r.open_stage\ndef noisy(*a):\n print('a table'); return old(*a)\nr.open_stage = noisy\nfrom target_iceberg.singer.main import main; main()"
    command = target.command()
    command[2] = code
    messages = [
        {"type": "DATIVO_START", "run": "r", "state": {}},
        {"type": "SCHEMA", "stream": "orders", "schema": {"properties": {"id": {}}}},
        {"type": "STATE", "value": {"x": 1}},
        {"type": "DATIVO_END"},
    ]
    done = subprocess.run(
        command,
        input="".join(json.dumps(m) + "\n" for m in messages),
        capture_output=True,
        text=True,
        check=False,
        cwd=target.root,
        env=target.environment(),
    )
    assert done.stdout == '{"x": 1}\n'
    assert "a table" in done.stderr


@pytest.mark.parametrize("line", [b"not json\n", b'{"type":"SCHEMA"}\n', b'{"stream":"x"}\n', b"[1]\n", b"\xff\xfe\n"])
def test_a_line_that_is_no_message_fails_without_traceback(target: Any, line: bytes) -> None:
    result = target.run([line])
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert target.rows() == []


def test_two_streams_publish_into_two_tables_with_one_commit_id(target: Any) -> None:
    other = target.stream_plan(stream="payments", table="payments", rules=())
    target.plan = target.job_plan(target.stream_plan(), other)
    schema = {"properties": {"id": {"type": "integer"}}}
    result = target.send(
        {"type": "DATIVO_START", "run": "r1", "state": {}},
        *({"type": "SCHEMA", "stream": s, "schema": schema, "key_properties": ["id"]} for s in ("orders", "payments")),
        *({"type": "RECORD", "stream": ("orders", "payments")[i % 2], "record": target.order(i)} for i in range(10)),
        {"type": "STATE", "value": {"bookmarks": {"orders": {"x": 1}, "payments": {"x": 2}}}},
        {"type": "DATIVO_END"},
    )
    assert result.code == 0, result.stderr
    assert target.ids() == [0, 2, 4, 6, 8]
    assert sorted(r["id"] for r in target.rows("shop.payments")) == [1, 3, 5, 7, 9]
    assert target.state() == {"bookmarks": {"orders": {"x": 1}, "payments": {"x": 2}}}


def test_a_read_only_lake_is_said_plainly(target: Any) -> None:
    (target.root / "lake").mkdir()
    (target.root / "lake/acme").write_text("a file where the directory should be")
    result = target.run([target.order(1)])
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert "lake/acme" in result.report.failure.message


def test_rejects_of_two_streams_of_one_table_are_both_kept(target: Any) -> None:
    streams = [target.stream_plan(stream=s, replace_files=False) for s in ("orders", "returns")]
    target.plan = target.job_plan(*streams, violations="warn")
    schemas = [{"type": "SCHEMA", "stream": s, "schema": {}, "key_properties": ["id"]} for s in ("orders", "returns")]
    records = [
        {"type": "RECORD", "stream": s, "record": target.order(i, status=status)}
        for s, i, status in (("orders", 1, "??"), ("orders", 2, "new"), ("returns", 3, "??"), ("returns", 4, "new"))
    ]
    state = {"type": "STATE", "value": {"bookmarks": {"orders": 1, "returns": 1}}}
    start = {"type": "DATIVO_START", "run": "r", "state": {}}
    assert target.send(start, *schemas, *records, state, {"type": "DATIVO_END"}).report.outcome == "partial"
    found = [(r["stream"], json.loads(r["record"])["id"]) for r in target.rows("shop.orders__rejects")]
    assert sorted(found) == [("orders", 1), ("returns", 3)]
    assert target.ids() == [2, 4]


@pytest.mark.parametrize(
    ("state", "loads"), [({}, True), ({"bookmarks": {"orders": FILE_STATE}}, False)], ids=["first load", "bookmark"]
)
def test_libraries_for_rows_are_loaded_while_the_tap_begins(
    target: Any, monkeypatch: pytest.MonkeyPatch, *, state: dict[str, Any], loads: bool
) -> None:
    """Half a second that a run of a schedule, which mostly finds nothing new, does not spend."""
    loaded: list[bool] = []
    monkeypatch.setattr("target_iceberg.singer.libraries._load", lambda: loaded.append(True))
    settings = from_config({"load_plan": "plan.json"}, {})
    run = Run(settings, target.plan, Ledger(io.StringIO()))
    start = {"type": "DATIVO_START", "run": "r1", "state": state}
    run.read([json.dumps(start).encode() + b"\n"])
    run.close()
    assert bool(loaded) is loads


def test_no_two_threads_import_the_libraries_for_rows(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules of theirs that import each other end such a run with an error, when threads meet in them."""
    may_end, has_begun, done = threading.Event(), threading.Event(), []

    def load() -> None:
        has_begun.set()
        may_end.wait()
        done.append("libraries")

    monkeypatch.setattr("target_iceberg.singer.libraries._load", load)
    monkeypatch.setattr(
        "target_iceberg.table.lake_catalog.open_catalog", lambda where: done.append("catalog") or open_catalog(where)
    )
    monkeypatch.chdir(target.root)
    run = Run(from_config({"load_plan": "plan.json"}, {}), target.plan, Ledger(io.StringIO()))
    start = {"type": "DATIVO_START", "run": "r1", "state": {}}
    record = {"type": "RECORD", "stream": "orders", "record": target.order(1)}
    lines = [json.dumps(m).encode() + b"\n" for m in (start, target.schema, record)]

    def blocks() -> Iterator[bytes]:
        yield lines[0]
        has_begun.wait()
        threading.Timer(0.2, may_end.set).start()
        yield from lines[1:]

    run.read(blocks())
    run.close()
    assert done == ["libraries", "catalog"]
