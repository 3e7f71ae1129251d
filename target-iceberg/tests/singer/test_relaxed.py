"""Fields that a contract does not name: dropped and counted, or columns of their own where it is relaxed."""

from __future__ import annotations

from typing import Any

import pytest


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
