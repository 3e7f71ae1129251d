"""Table rules over staged files, against a plain count of the rows."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from pathlib import Path  # noqa: TC003 - hypothesis reads it
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import Column, Rule, StreamPlan
from target_iceberg.records import staged_rows
from target_iceberg.records.audit import audit
from target_iceberg.records.staged_rows import StagedRows, count_duplicates

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 1, 2, tzinfo=UTC)
COLUMNS = (
    Column(name="id", type="long"),
    Column(name="name", type="string"),
    Column(name="email", type="string", classification="PII"),
    Column(name="at", type="timestamptz"),
    Column(name="day", type="date"),
)


def plan(*rules: Rule, **changes: Any) -> StreamPlan:
    given_: dict[str, Any] = {
        "stream": "s",
        "namespace": ("n",),
        "table": "t",
        "columns": COLUMNS,
        "write_mode": "append",
        "fingerprint": "x",
        "rules": rules,
    }
    return StreamPlan(**{**given_, **changes})


def staged(directory: Path, *tables: pa.Table) -> StagedRows:
    paths = []
    for i, table in enumerate(tables):
        paths.append(str(directory / f"{i}.parquet"))
        pq.write_table(table, paths[-1], row_group_size=3)
    return StagedRows(paths)


KEYS = st.lists(
    st.tuples(st.one_of(st.none(), st.integers(0, 4)), st.one_of(st.none(), st.sampled_from("abc"))), max_size=40
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEYS, st.integers(0, 40), st.sampled_from([4, 1 << 20]))
def test_duplicates_are_counted_as_a_plain_count_does(
    tmp_path: Path, rows: list[tuple[Any, Any]], cut: int, max_hashes: int
) -> None:
    def table(part: list[tuple[Any, Any]]) -> pa.Table:
        return pa.table(
            {"id": pa.array([r[0] for r in part], pa.int64()), "name": pa.array([r[1] for r in part], pa.string())}
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staged_rows, "MAX_HASHES", max_hashes)
        found, example = count_duplicates(staged(tmp_path, table(rows[:cut]), table(rows[cut:])), ["id", "name"])
    counted = Counter(r for r in rows if None not in r)
    assert found == sum(n - 1 for n in counted.values())
    assert (example is None) == (found == 0)
    if example is not None:
        assert counted[tuple(example.to_pylist()[0].values())] > 1


class Colliding(staged_rows._Hasher):
    """Gives many values the same hash."""

    def hashes(self, table: pa.Table) -> np.ndarray:
        return (table["id"].to_numpy() % 3).astype(np.uint64)


@pytest.mark.parametrize(
    "values",
    [
        pa.array([0, 255, 0], pa.uint8()),
        pa.array([-1, 1, -1], pa.int32()),
        pa.array([2**64 - 1, 1, 2**64 - 1], pa.uint64()),
        pa.array([dt.date(1, 1, 1), dt.date(2026, 1, 1), dt.date(1, 1, 1)]),
        pa.array([dt.time(23, 59), None, dt.time(23, 59)], pa.time64("us")),
        pa.array([dt.datetime(1, 1, 1), dt.datetime(9999, 1, 1), dt.datetime(1, 1, 1)], pa.timestamp("us")),
        pa.array([1.5, 0.25, 1.5]),
        pa.array(["a", None, "a"]),
        pa.array([True, False, True]),
    ],
)
def test_values_of_every_type_are_counted(tmp_path: Path, values: pa.Array) -> None:
    rows = staged(tmp_path, pa.table({"v": values}))
    found, example = count_duplicates(rows, ["v"])
    assert found == 1
    assert example is not None
    assert example["v"].to_pylist() == values.to_pylist()[:1]


@pytest.mark.parametrize("files", [[[1, 2, 3], [3, 4]], [[1, 2], [2]], [[1, 1]], [[1, 3], [2, 3]], [[], [5], [5]]])
def test_numbers_that_nearly_only_rise_are_counted(tmp_path: Path, files: list[list[int]]) -> None:
    tables = [pa.table({"id": pa.array(values, pa.int64())}) for values in files]
    assert count_duplicates(staged(tmp_path, *tables), ["id"])[0] == 1


def test_numbers_that_only_rise_need_no_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_rows, "_hashes", None)
    rows = staged(tmp_path, pa.table({"id": [-(2**63), -1]}), pa.table({"id": [0, 1, 2**63 - 1]}))
    assert count_duplicates(rows, ["id"]) == (0, None)


def test_hashes_that_collide_are_no_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        staged_rows,
        "_Hasher",
        Colliding,
    )
    rows = staged(tmp_path, pa.table({"id": [1, 2, 3, 4, 5, 6, 1]}))
    assert count_duplicates(rows, ["id"])[0] == 1
    assert count_duplicates(staged(tmp_path, pa.table({"id": [1, 2, 4, 3]})), ["id"]) == (0, None)


def test_a_column_that_came_later_is_null_before(tmp_path: Path) -> None:
    rows = staged(tmp_path, pa.table({"id": [1, 2]}), pa.table({"id": [3, 3], "name": ["a", "a"]}))
    assert count_duplicates(rows, ["name"])[0] == 1
    assert count_duplicates(rows, ["id", "name"])[0] == 1
    assert audit(plan(Rule(name="r", kind="unique", columns=("name",))), rows)[0].records == 1


def test_the_key_must_be_unique_in_append_and_only_there(tmp_path: Path) -> None:
    rows = staged(tmp_path, pa.table({"id": [1, 2, 2]}))
    (finding,) = audit(plan(key=("id",)), rows)
    assert (finding.rule, finding.column, finding.kind, finding.severity, finding.records) == (
        "s.key.unique",
        "id",
        "unique",
        "error",
        1,
    )
    assert finding.example == "1 rows repeat a value that must be unique, e.g. id = 2"
    assert audit(plan(key=("id",), write_mode="upsert"), rows) == []
    assert len(audit(plan(key=("id",), write_mode="replace"), rows, unique_key=True)) == 1


def test_examples_hide_classified_values(tmp_path: Path) -> None:
    rule = Rule(name="u", kind="unique", columns=("email", "id"))
    (finding,) = audit(plan(rule), staged(tmp_path, pa.table({"id": [1, 1], "email": ["hidden", "hidden"]})))
    assert finding.example is not None
    assert finding.example.endswith("e.g. email = ***, id = 1")


@pytest.mark.parametrize(
    ("argument", "broken"),
    [
        ({"max": 2}, False),
        ({"max": 1}, True),
        ({"max": 40, "unit": "percent"}, False),
        ({"max": 39, "unit": "percent"}, True),
    ],
)
def test_some_duplicates_may_be_allowed(tmp_path: Path, argument: dict[str, Any], broken: bool) -> None:
    rule = Rule(name="u", kind="unique", columns=("id",), argument=argument, severity="warning")
    found = audit(plan(rule), staged(tmp_path, pa.table({"id": [1, 1, 1, 2, 3]})))
    assert [(f.severity, f.records) for f in found] == ([("warning", 2)] if broken else [])


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ({"min": 3}, None),
        ({"min": 4}, "3 rows, fewer than 4"),
        ({"max": 3}, None),
        ({"max": 2}, "3 rows, more than 2"),
        ({"min": 1, "max": 5}, None),
    ],
)
def test_row_counts_are_judged_over_all_files(tmp_path: Path, argument: dict[str, int], says: str | None) -> None:
    rows = staged(tmp_path, pa.table({"id": [1, 2]}), pa.table({"id": [3]}))
    assert [f.example for f in audit(plan(Rule(name="c", kind="row_count", argument=argument)), rows)] == (
        [says] if says else []
    )


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("at", [NOW - dt.timedelta(hours=2), NOW - dt.timedelta(seconds=3600)], None),
        ("at", [NOW - dt.timedelta(seconds=3601), None], "is 3,601 s old; at most 3,600 s are allowed"),
        ("at", [None, None], "2 rows and no value"),
        ("at", [], None),
        ("day", [dt.date(2026, 1, 1)], None),
        ("day", [dt.date(2025, 12, 31)], "is 86,400 s old"),
    ],
)
def test_freshness_is_the_age_of_the_newest_value(
    tmp_path: Path, column: str, values: list[Any], says: str | None
) -> None:
    type_ = pa.timestamp("us", "UTC") if column == "at" else pa.date32()
    rule = Rule(name="f", kind="freshness", columns=(column,), argument={"max_age_s": 3600})
    found = audit(plan(rule), staged(tmp_path, pa.table({column: pa.array(values, type_)})), now=NOW)
    assert (found == []) == (says is None)
    if says:
        assert says in str(found[0].example)


def test_freshness_without_an_age_is_an_error_of_the_plan(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="rule f: the argument must be"):
        audit(
            plan(Rule(name="f", kind="freshness", columns=("at",))),
            staged(tmp_path, pa.table({"at": pa.array([], pa.timestamp("us", "UTC"))})),
        )


def test_files_may_be_opened_by_the_caller_and_call_columns_otherwise(tmp_path: Path) -> None:
    staged(tmp_path, pa.table({"a_x20b": [1, 1]}))
    opened = []

    def open_file(name: str) -> pa.NativeFile:
        opened.append(name)
        return pa.OSFile(str(tmp_path / name))

    rows = StagedRows(["0.parquet"], open_file, {"a b": "a_x20b"})
    columns = (Column(name="a b", type="long"),)
    (finding,) = audit(plan(Rule(name="u", kind="unique", columns=("a b",)), columns=columns), rows)
    assert (finding.records, finding.column) == (1, "a b")
    assert set(opened) == {"0.parquet"}


def test_no_files_break_no_rule_but_a_minimum_of_rows() -> None:
    rules = (Rule(name="u", kind="unique", columns=("id",)), Rule(name="c", kind="row_count", argument={"min": 1}))
    assert [f.rule for f in audit(plan(*rules), StagedRows([]))] == ["c"]
