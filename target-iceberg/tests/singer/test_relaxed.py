"""Fields that a contract does not name: dropped and counted, or columns of their own where it is relaxed."""

from __future__ import annotations

from typing import Any

import pytest

from target_iceberg import lake
from target_iceberg.load_plan import Rule


def schema(**further: Any) -> dict[str, Any]:
    properties = {"id": {"type": "integer"}, "status": {"type": "string"}, **further}
    return {"type": "SCHEMA", "stream": "orders", "schema": {"properties": properties}, "key_properties": ["id"]}


NOTE = {"note": {"type": ["null", "string"]}}
PRICE = {"price": {"type": ["null", "number"]}, "STATUS": {"type": "string"}}


@pytest.mark.parametrize("mode", ["strict", "merge"])
def test_they_are_dropped_and_counted(target: Any, mode: str) -> None:
    target.plan = target.job_plan(target.stream_plan(evolution=mode, replace_files=False))
    done = target.run([schema(**NOTE), target.order(1, note="x")], 1, schema=False)
    assert done.code == 0, done.stderr
    assert "field note is not in the contract: dropped from 1 records" in done.report.streams[0].notices
    assert "note" not in target.rows()[0]


def test_they_become_columns_typed_by_the_schema_also_in_the_middle_of_a_run(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(evolution="relaxed", replace_files=False))
    first = target.run([target.order(1)], 1)
    assert first.code == 0, first.stderr
    records = [
        schema(**NOTE),
        target.order(2, note="x"),
        schema(**NOTE, **PRICE),
        target.order(3, price=1.5, STATUS="y"),
    ]
    done = target.run(records, 2, schema=False)
    assert done.code == 0, done.stderr
    rows = {r["id"]: (r["note"], r["price"], r["status"]) for r in target.rows()}
    assert rows == {1: (None, None, "new"), 2: ("x", None, "new"), 3: (None, 1.5, "new")}
    assert "field STATUS is not in the contract: dropped from 1 records" in done.report.streams[0].notices
    assert target.run([target.order(4)], 3).code == 0
    assert target.ids() == [1, 2, 3, 4]


def test_one_that_changes_its_type_is_refused_with_the_difference(target: Any) -> None:
    target.plan = target.job_plan(target.stream_plan(evolution="relaxed", replace_files=False))
    target.run([schema(**NOTE), target.order(1, note="x")], 1, schema=False)
    done = target.run([schema(note={"type": "boolean"}), target.order(2, note=True)], 2, schema=False)
    assert done.code == 2
    assert "- note string" in done.stderr
    assert "+ note boolean" in done.stderr
    assert target.ids() == [1]


def test_a_replayed_reject_keeps_them(target: Any) -> None:
    rule = Rule(name="orders.status.enum", kind="enum", columns=("status",), argument=["new"])
    plan = target.stream_plan(evolution="relaxed", replace_files=False, rules=(rule,))
    target.plan = target.job_plan(plan, violations="warn")
    more = {
        **NOTE,
        "paid": {"type": ["null", "number"], "multipleOf": 0.01},
        "tags": {"type": "array", "items": {"type": "string"}},
        "address": {"type": "object", "properties": {"city": {"type": "string"}}},
        "anything": {"type": ["object", "null"]},
        "at": {"type": "string", "format": "date-time"},
    }
    values = {
        "note": "x",
        "paid": 1.25,
        "tags": ["a"],
        "address": {"city": "Ulm"},
        "anything": {"b": [1]},
        "at": "2025-01-01T00:00:00Z",
    }
    first = target.run([schema(**more), target.order(1, **values), target.order(2, "old", **values)], 1, schema=False)
    assert first.report.streams[0].rejected == 1, first.stderr
    (done,) = lake.replay(
        target.plan, lambda _: True, {next(r.id for r in lake.rejects(target.plan)): {"status": "new"}}
    )
    assert done.published == 1
    by_itself, replayed = sorted(target.rows(), key=lambda r: r["id"])
    assert {k: v for k, v in replayed.items() if k in values} == {k: v for k, v in by_itself.items() if k in values}
    assert replayed["address"] == {"city": "Ulm"}
