"""What is kept of rejected records."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from target_iceberg.load_plan import Column, Contract, StreamPlan
from target_iceberg.records.rejects import REJECTS_SCHEMA, Budget, Listing, RejectRow, Room, from_tap, rejects_table
from target_iceberg.records.rows import RowPath
from target_iceberg.singer.messages import Source, TapReject

WHEN = dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc)


def plan(*columns: Column) -> StreamPlan:
    contract = Contract(name="orders", version="1.2.0", digest="x")
    return StreamPlan(
        stream="s",
        namespace=("n",),
        table="t",
        columns=columns,
        write_mode="append",
        fingerprint="x",
        contract=contract,
    )


def test_a_tables_rows_say_everything_that_a_replay_or_a_reader_needs() -> None:
    row = RejectRow("s.id.type", "id", "type", "expected a number", '"x"', '{"id":"x"}', "f.csv", 3)
    table = rejects_table(
        [row, RejectRow("s.record.json", None, "json", "not JSON", None, '"{"', n=9)],
        run_id="r",
        plan=plan(),
        rejected_at=WHEN,
        n=4,
    )
    assert table.schema == REJECTS_SCHEMA
    assert table.to_pylist()[0] == {
        "run_id": "r", "stream": "s", "n": 4, "source_file": "f.csv", "source_record": 3, "rule": "s.id.type", "column": "id", "value": '"x"',
        "message": "expected a number", "record": '{"id":"x"}', "contract_name": "orders", "contract_version": "1.2.0", "rejected_at": WHEN,
    }  # fmt: skip
    assert table["n"].to_pylist() == [4, 9]


def test_no_rejects_give_an_empty_table_of_the_same_columns() -> None:
    assert rejects_table([], run_id="r", plan=plan(), rejected_at=WHEN).schema == REJECTS_SCHEMA


def test_a_reject_of_the_tap_is_kept_with_its_origin() -> None:
    message = TapReject("s", "csv.ragged_row", "7 fields", None, {"raw": "a,b"}, Source("f.csv", 12, 14))
    got = from_tap(plan(Column(name="id", type="long")), message)
    assert got == RejectRow("s.csv.ragged_row", None, "csv.ragged_row", "7 fields", None, '{"raw":"a,b"}', "f.csv", 12)


def test_a_reject_of_the_tap_is_masked_as_a_whole_where_a_column_is_classified() -> None:
    message = TapReject("s", "csv.ragged_row", "7 fields", None, {"raw": "hidden"})
    got = from_tap(plan(Column(name="id", type="long", classification="PII")), message)
    assert got.record == '{"raw":"***"}'
    assert (
        from_tap(
            plan(Column(name="id", type="long", classification="PII")), TapReject("s", "r", "m", None, "hidden")
        ).record
        == '"***"'
    )


def test_a_budget_is_spent_by_rule() -> None:
    budget = Budget(2)
    budget.take("a")
    assert (budget.left("a"), budget.left("b")) == (1, 2)
    budget.take("a", 5)
    assert budget.left("a") == 0


def listed(rule: str, size: int) -> RejectRow:
    return RejectRow(rule, None, "type", "m", None, "x" * size)


def test_listed_rejects_hold_so_many_bytes_and_the_first_of_each_rule_all_the_same() -> None:
    room = Room(100)
    one, other = Listing(10, room), Listing(10, room)
    for size in (60, 30, 30):
        one.add(listed("a", size))
    assert [len(r.record) for r in one.rows] == [60, 30]
    assert one.is_full
    other.add(listed("b", 1_000))
    other.add(listed("b", 1))
    assert [len(r.record) for r in other.rows] == [1_000]


def test_a_listing_is_full_when_one_rule_is() -> None:
    listing = Listing(2, Room())
    for rule in "aba":
        assert not listing.is_full
        listing.add(listed(rule, 1))
    assert listing.is_full
    listing.add(listed("a", 1))
    assert [r.rule for r in listing.rows] == ["a", "b", "a"]


def test_text_that_no_table_can_hold_is_made_storable() -> None:
    got = RowPath("s", (Column(name="id", type="long"),), Budget()).decode(
        b'{"record":{"id":"\\ud83d","note":"\\ud83d"}}\n'
    )
    assert isinstance(got, list)
    assert pa.array([got[0].record, got[0].value]).to_pylist() == ['{"id":"\\ud83d","note":"\\ud83d"}', '"\\ud83d"']
