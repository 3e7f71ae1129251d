"""What must be unique in an append: the first row is kept, also against the table (protocol, rule 11)."""

from __future__ import annotations

from typing import Any

import pytest

from target_iceberg.load_plan import Column, Rule

COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="region", type="string"),
    Column(name="code", type="string"),
)


def job(target: Any, violations: str, **changes: Any) -> Any:
    settings = {"columns": COLUMNS, "key": ("id",), "rules": (), "replace_files": False, "write_mode": "append"}
    target.plan = target.job_plan(target.stream_plan(**{**settings, **changes}), violations=violations)
    return target


def rec(i: int, region: str | None = "eu", code: str | None = None) -> dict[str, Any]:
    return {"id": i, "region": region, "code": code}


def content(target: Any) -> list[tuple[int, str]]:
    return sorted((r["id"], r["region"]) for r in target.rows())


@pytest.mark.parametrize("partition_by", [(), ("region",)])
def test_in_warn_the_first_row_is_kept_and_later_ones_are_rejects(target: Any, partition_by: tuple[str, ...]) -> None:
    job(target, "warn", partition_by=partition_by)
    first = target.run([rec(1, "a"), rec(2, "b"), rec(1, "c")], 1)
    assert content(target) == [(1, "a"), (2, "b")]
    (s,) = first.report.streams
    assert (s.read, s.published, s.rejected, s.rules[0].rule) == (3, 2, 1, "orders.key.unique")
    second = target.run([rec(2, "d"), rec(3, "e"), rec(3, "f"), rec(1, "g")], 2)
    assert content(target) == [(1, "a"), (2, "b"), (3, "e")]
    assert (second.report.outcome, second.report.streams[0].rejected) == ("partial", 3)
    rejects = target.rows("shop.orders__rejects")
    assert sorted((r["n"], r["rule"]) for r in rejects) == [(1, "orders.key.unique")] + [(2, "orders.key.unique")] * 3
    assert {r["value"] for r in rejects if r["n"] == 2} == {"1", "2", "3"}


def test_in_strict_the_run_is_withheld(target: Any) -> None:
    job(target, "strict")
    target.run([rec(1), rec(2)], 1)
    done = target.run([rec(3), rec(2)], 2)
    assert done.code == 2
    assert "orders.key.unique 1 times" in done.stderr
    assert [i for i, _ in content(target)] == [1, 2]
    assert (done.report.streams[0].withheld, done.report.streams[0].rejected) == (1, 1)


def test_unique_columns_and_composite_keys_are_looked_up_too(target: Any) -> None:
    rule = Rule(name="orders.code.unique", kind="unique", columns=("code",))
    job(target, "warn", key=("id", "region"), rules=(rule,))
    target.run([rec(1, "a", "x"), rec(1, "b", None), rec(2, "a", None)], 1)
    assert content(target) == [(1, "a"), (1, "b"), (2, "a")]  # NULL repeats nothing
    target.run([rec(1, "c", "x"), rec(1, "b", "z"), rec(5, "a", "y")], 2)
    assert content(target) == [(1, "a"), (1, "b"), (2, "a"), (5, "a")]


def test_a_row_that_somebody_deleted_may_come_again(target: Any) -> None:
    job(
        target,
        "warn",
        write_mode="upsert",
        hard_delete=True,
        columns=(*COLUMNS, Column(name="_sdc_deleted_at", type="timestamptz")),
    )
    target.run([rec(1), rec(2)], 1)
    target.run([{"id": 1, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}], 2)
    job(target, "warn", columns=(*COLUMNS, Column(name="_sdc_deleted_at", type="timestamptz")))
    target.run([rec(1), rec(2)], 3)
    assert [i for i, _ in content(target)] == [1, 2]
    assert len(target.rows("shop.orders__rejects")) == 1


def test_an_allowance_is_judged_over_the_run(target: Any) -> None:
    rule = Rule(name="orders.code.unique", kind="unique", columns=("code",), argument={"max": 1, "unit": "rows"})
    job(target, "warn", key=(), rules=(rule,))
    assert target.run([rec(1, "a", "x"), rec(2, "a", "x")], 1).code == 0
    assert target.run([rec(1, "a", "x"), rec(2, "a", "x"), rec(3, "a", "x")], 2).code == 2
