"""What the source says is gone: rows with `_sdc_deleted_at`, and versions of its table that are no longer valid."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from target_iceberg import lake
from target_iceberg.load_plan import RECORD_METADATA, TABLE_VERSION, Column
from target_iceberg.records.columns import build
from target_iceberg.records.metadata import ENVELOPE_FIELDS
from target_iceberg.records.rejects import Budget
from target_iceberg.records.rows import RowPath
from target_iceberg.records.wire import WireReader

GONE = "2026-01-02T03:04:05Z"
SCHEMA = {
    "properties": {"id": {}, "status": {}, "_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"}}
}
COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string", required=True),
)


def plan(target: Any, *, metadata: bool = True, **changes: Any) -> Any:
    columns = (*COLUMNS, *RECORD_METADATA) if metadata else COLUMNS
    settings = {"columns": columns, "record_metadata": metadata, "replace_files": False, "rules": (), **changes}
    target.plan = target.job_plan(target.stream_plan(**settings))
    return target


def live(i: int, status: str = "new", **more: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": "orders", "record": {"id": i, "status": status}, **more}


def gone(i: int, **more: Any) -> dict[str, Any]:
    return {"type": "RECORD", "stream": "orders", "record": {"id": i, "_sdc_deleted_at": GONE}, **more}


def activate(version: int) -> dict[str, Any]:
    return {"type": "ACTIVATE_VERSION", "stream": "orders", "version": version}


def run(target: Any, *messages: Any, state: Any = 1, **environment: str) -> Any:
    schema = {"type": "SCHEMA", "stream": "orders", "schema": SCHEMA, "key_properties": ["id"]}
    done = target.run([schema, *messages], state, schema=False, **environment)
    assert done.report is not None, done.stderr
    for s in done.report.streams:
        assert s.read == s.published + s.rejected + s.superseded + s.deleted + s.withheld
    return done


def counts(done: Any) -> tuple[int, int, int, int]:
    (s,) = done.report.streams
    return s.read, s.published, s.superseded, s.deleted


def content(target: Any) -> dict[int, tuple[str, bool]]:
    """Id -> status and whether the row is marked as deleted."""
    return {r["id"]: (r["status"], r.get("_sdc_deleted_at") is not None) for r in target.rows()}


@pytest.mark.parametrize("partition_by", [(), ("bucket(4, id)",), ("status",)])
def test_a_hard_delete_takes_the_row_away_by_its_key(target: Any, partition_by: tuple[str, ...]) -> None:
    plan(target, hard_delete=True, partition_by=partition_by)
    run(target, live(1), live(2), live(3, "paid"))
    done = run(target, gone(3), live(4), gone(9), state=2)  # of the row to go, no more than the key comes
    assert done.code == 0, done.stderr
    assert counts(done) == (3, 1, 0, 2)
    assert content(target) == {1: ("new", False), 2: ("new", False), 4: ("new", False)}


@pytest.mark.parametrize("together", [True, False], ids=["in one chunk", "in two"])
def test_within_a_run_the_last_word_about_a_key_counts(target: Any, together: bool) -> None:
    plan(target, hard_delete=True)
    run(target, live(1), live(2))
    between = [] if together else [{"type": "STATE", "value": {"bookmarks": {"orders": 7}}}]
    environment = {} if together else {"DATIVO_CHECKPOINT_EVERY_S": "0"}  # which sends what waits to the workers
    done = run(target, live(1, "paid"), gone(2), *between, gone(1), live(2, "back"), state=8, **environment)
    assert done.code == 0, done.stderr
    assert counts(done) == (4, 1, 2, 1)
    assert content(target) == {2: ("back", False)}


def test_a_row_inserted_and_deleted_in_the_first_run_never_shows(target: Any) -> None:
    plan(target, hard_delete=True)
    done = run(target, live(1), gone(1), live(2))
    assert counts(done) == (3, 1, 1, 1)
    assert content(target) == {2: ("new", False)}


def test_a_run_of_deletions_alone_is_published(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, live(1), live(2))
    done = run(target, gone(1), state=2)
    assert done.report.outcome == "published"
    assert content(target) == {2: ("new", False)}
    assert target.snapshots() == 2


def test_a_soft_delete_marks_the_row(target: Any) -> None:
    plan(target)
    run(target, live(1), live(2))
    record = {"id": 1, "status": "new", "_sdc_deleted_at": GONE}
    done = run(target, {"type": "RECORD", "stream": "orders", "record": record}, state=2)
    assert counts(done) == (1, 1, 0, 0)
    assert content(target) == {1: ("new", True), 2: ("new", False)}


def test_a_tap_that_announces_deletions_gets_the_column_though_the_contract_lacks_it(target: Any) -> None:
    plan(target, metadata=False)
    record = {"id": 1, "status": "new", "_sdc_deleted_at": GONE}
    assert run(target, {"type": "RECORD", "stream": "orders", "record": record}).code == 0
    assert target.rows()[0]["_sdc_deleted_at"] == dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.timezone.utc)
    assert lake.preflight(target.plan).state == {"bookmarks": {"orders": 1}}  # strict: the column is no difference


def test_a_deleted_key_that_is_null_is_a_violation(target: Any) -> None:
    plan(target, hard_delete=True)
    done = run(target, {"type": "RECORD", "stream": "orders", "record": {"_sdc_deleted_at": GONE}})
    assert done.report.outcome == "withheld"


def test_replace_leaves_deleted_rows_out(target: Any) -> None:
    plan(target, hard_delete=True, write_mode="replace")
    run(target, live(1), live(2))
    done = run(target, live(1), live(3), gone(3), state=2)
    assert counts(done) == (3, 1, 1, 1)
    assert content(target) == {1: ("new", False)}


def test_deletions_go_on_from_a_checkpoint(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, live(1), live(2), live(3))
    state = {"type": "STATE", "value": {"bookmarks": {"orders": 2}}}
    often = {"DATIVO_CHECKPOINT_EVERY_S": "0"}
    schema = {"type": "SCHEMA", "stream": "orders", "schema": SCHEMA, "key_properties": ["id"]}
    target.run([schema, gone(1), live(4), state, live(5)], schema=False, end=False, **often)
    assert sorted(content(target)) == [1, 2, 3]
    start = lake.preflight(target.plan).state
    assert start == {"bookmarks": {"orders": 2}}
    done = target.run([schema, gone(2), live(4, "paid")], 3, start=start, schema=False)
    assert counts(done) == (4, 1, 1, 2)
    assert content(target) == {3: ("new", False), 4: ("paid", False)}


def test_keys_of_deleted_rows_do_not_stay_behind(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, live(1), gone(1))
    assert list((target.root / "lake").rglob("*-deleted-*.parquet")) == []


# -- ACTIVATE_VERSION -------------------------------------------------------------------------------------------------


def test_rows_of_earlier_versions_leave_the_table(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, live(1, version=1), live(2, version=1), activate(1))
    done = run(target, live(2, version=2), live(3, version=2), activate(2), state=2)
    assert done.code == 0, done.stderr
    assert content(target) == {2: ("new", False), 3: ("new", False)}


def test_rows_of_earlier_versions_are_marked_unless_deletes_are_hard(target: Any) -> None:
    plan(target, partition_by=("bucket(2, id)",))
    run(target, live(1, version=1), live(2, version=1), activate(1))
    run(target, live(2, version=2), live(3, version=2), activate(2), state=2)
    assert content(target) == {1: ("new", True), 2: ("new", False), 3: ("new", False)}
    before = {r["id"]: r["_sdc_deleted_at"] for r in target.rows()}
    run(target, live(4, version=3), activate(3), state=3)
    assert content(target) == {1: ("new", True), 2: ("new", True), 3: ("new", True), 4: ("new", False)}
    assert {r["id"]: r["_sdc_deleted_at"] for r in target.rows()}[1] == before[
        1
    ]  # when it went, not when it was looked at
    assert len(target.rows()) == 4


def test_a_version_may_be_activated_without_any_record(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, live(1, version=1), activate(1))
    done = run(target, activate(2), state=2)
    assert done.code == 0, done.stderr
    assert content(target) == {}


def test_rows_of_an_earlier_version_of_the_same_run_do_not_show(target: Any) -> None:
    plan(target)
    done = run(target, live(1, version=1), activate(1), live(2, version=2), live(1, version=2), activate(2))
    assert content(target) == {1: ("new", False), 2: ("new", False)}
    done = run(target, live(5, version=3), live(6, version=4), activate(4), state=2)
    assert counts(done) == (2, 1, 0, 1)
    assert content(target) == {1: ("new", True), 2: ("new", True), 6: ("new", False)}


def test_rows_without_a_version_stay(target: Any) -> None:
    plan(target, hard_delete=True)
    run(target, live(1))
    run(target, live(2, version=2), activate(2), state=2)
    assert sorted(content(target)) == [1, 2]


def test_without_the_column_it_is_said_what_to_do(target: Any) -> None:
    plan(target, metadata=False)
    done = run(target, live(1, version=1), activate(1))
    assert any("add_record_metadata" in n for n in done.report.notices)


# -- metadata of records ------------------------------------------------------------------------------------------------


def test_record_metadata_is_filled_on_every_way_in(target: Any) -> None:
    plan(target)
    when = {"time_extracted": "2026-03-04T05:06:07+01:00"}
    odd = b'{"record": {"id": 2, "status": "new"}, "time_extracted": "2026-03-04T04:06:07Z", "type": "RECORD", "stream": "orders", "version": 7}\n'
    before = dt.datetime.now(dt.timezone.utc)
    done = run(target, live(1, **when, version=7), odd, live(3))
    assert done.code == 0, done.stderr
    first, second, third = sorted(target.rows(), key=lambda r: r["id"])
    for row in (first, second):
        assert row["_sdc_extracted_at"] == dt.datetime(2026, 3, 4, 4, 6, 7, tzinfo=dt.timezone.utc)
        assert row["_sdc_table_version"] == 7
    assert third["_sdc_extracted_at"] is None
    for row in (first, second, third):
        assert before - dt.timedelta(seconds=1) <= row["_sdc_received_at"] <= dt.datetime.now(dt.timezone.utc)
        assert row["_sdc_batched_at"] is not None
        assert row["_sdc_sequence"] > 1_700_000_000_000
        assert row["_sdc_sync_started_at"] > 1_700_000_000_000
        assert row["_sdc_deleted_at"] is None


def test_the_row_path_takes_the_same_from_around_the_record(target: Any) -> None:
    stream = target.stream_plan(columns=(*COLUMNS, *RECORD_METADATA), record_metadata=True)
    around = b'{"type": "RECORD", "stream": "orders", "version": 3, "time_extracted": "2026-03-04T04:06:07+01:00", "record": {"id": 1%s}}\n'
    lines = [around % b"", around % b', "_sdc_table_version": 9', around % b', "_sdc_table_version": null']
    rows = RowPath("orders", stream.columns, Budget(10), ENVELOPE_FIELDS)
    fast = WireReader(stream.columns, envelope_fields=ENVELOPE_FIELDS).read(b"".join(lines), 3)[0]
    names = fast.column_names
    slow = [dict(zip(names, rows.decode(line), strict=True)) for line in lines]
    assert [r[TABLE_VERSION] for r in slow] == fast[TABLE_VERSION].to_pylist() == [3, 9, 3]
    read = build([r["_sdc_extracted_at"] for r in slow], RECORD_METADATA[0])
    assert read.to_pylist() == fast["_sdc_extracted_at"].to_pylist()
    assert read[0].as_py() == dt.datetime(2026, 3, 4, 3, 6, 7, tzinfo=dt.timezone.utc)


def test_a_time_of_extraction_that_is_none_is_a_violation(target: Any) -> None:
    plan(target)
    done = run(target, live(1, time_extracted="yesterday"))
    assert done.report.outcome == "withheld"
    assert done.report.streams[0].rules[0].rule == "orders._sdc_extracted_at.type"


def test_metadata_may_be_added_to_a_table_that_is_there(target: Any) -> None:
    plan(target, metadata=False)
    run(target, live(1))
    target.plan = msgspec.structs.replace(target.plan)
    plan(target)
    assert run(target, live(2), state=2).code == 0
    assert {r["id"]: r["_sdc_received_at"] is None for r in target.rows()} == {1: True, 2: False}
    plan(target, metadata=False)  # and is left alone when it is no longer wanted
    assert run(target, live(3), state=3).code == 0
    assert sorted(content(target)) == [1, 2, 3]
