"""Metrics and SQL rules over staged rows."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from target_iceberg.load_plan import Column, Rule, StreamPlan, TableRuleKind
from target_iceberg.records.audit import AUDITS, audit
from target_iceberg.records.metrics import METRICS, OPERATORS, broken_limits
from target_iceberg.records.staged_rows import StagedRows
from target_iceberg.sql_rules import SqlProblem, require_valid
from target_iceberg.types import arrow_schema

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    Column(name="id", type="long"),
    Column(name="status", type="string"),
    Column(name="ref", type="uuid"),
    Column(name="at", type="timestamptz"),
    Column(name="price", type="decimal(10,2)"),
    Column(name="o", type="struct", fields=(Column(name="k", type="long"),)),
)
ROWS = [
    {"id": 1, "status": "new", "ref": uuid.UUID(int=1), "at": dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), "price": Decimal("1.50"), "o": {"k": 1}},
    {"id": 2, "status": None, "ref": None, "at": None, "price": None, "o": None},
    {"id": 2, "status": "", "ref": None, "at": None, "price": Decimal("2.50"), "o": {"k": 3}},
    {"id": 4, "status": "N/A", "ref": None, "at": None, "price": None, "o": None},
]  # fmt: skip


@pytest.fixture
def judged(tmp_path: Path) -> Any:
    table = pa.Table.from_pylist(
        [{**r, "ref": r["ref"] and r["ref"].bytes} for r in ROWS],
        schema=pa.schema(
            [pa.field(f.name, pa.binary(16) if f.name == "ref" else f.type) for f in arrow_schema(COLUMNS)]
        ),
    )
    table = table.set_column(
        2, "ref", pa.chunked_array([pa.ExtensionArray.from_storage(pa.uuid(), c) for c in table["ref"].chunks])
    )
    for name, part in (("a", table.slice(0, 2)), ("b", table.slice(2))):
        pq.write_table(part, tmp_path / f"{name}.parquet")

    def judge(kind: Any, argument: Any, *columns: str, severity: Any = "error") -> list[Any]:
        rule = Rule(name="r", kind=kind, columns=columns, argument=argument, severity=severity)
        plan = StreamPlan(
            stream="orders",
            namespace=("n",),
            table="t",
            columns=COLUMNS,
            rules=(rule,),
            write_mode="upsert",
            fingerprint="f",
        )
        return audit(plan, StagedRows([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")]))

    return judge


METRIC_CASES = {
    "rowCount": ((), {}, 4),
    "nullValues": (("status",), {}, 1),
    "missingValues": (("status",), {"missingValues": [None, "", "N/A"]}, 3),
    "invalidValues": (("status",), {"validValues": ["new", ""]}, 1),
    "duplicateValues": (("id",), {}, 1),
}


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_each_metric_counts_what_it_says(judged: Any, metric: str) -> None:
    columns, arguments, value = METRIC_CASES[metric]
    more = {"arguments": arguments} if arguments else {}
    assert judged("metric", {"metric": metric, "limit": {"mustBe": value}, **more}, *columns) == []
    (found,) = judged("metric", {"metric": metric, "limit": {"mustBe": value + 1}, **more}, *columns)
    assert found.example == f"{metric} is {value} and must be {value + 1}"
    percent = {"metric": metric, "unit": "percent", "limit": {"mustBe": 25 * value}, **more}
    assert judged("metric", percent, *columns) == []


def test_missing_values_may_leave_null_out(judged: Any) -> None:
    argument = {"metric": "missingValues", "arguments": {"missingValues": ["N/A"]}, "limit": {"mustBe": 1}}
    assert judged("metric", argument, "status") == []


OPERATOR_CASES = {
    "mustBe": (5, 5, 6),
    "mustNotBe": (5, 6, 5),
    "mustBeGreaterThan": (5, 5.1, 5),
    "mustBeGreaterOrEqualTo": (5, 5, 4.9),
    "mustBeLessThan": (5, 4.9, 5),
    "mustBeLessOrEqualTo": (5, 5, 5.1),
    "mustBeBetween": ([2, 5], 2, 5.5),
    "mustNotBeBetween": ([2, 5], 1, 5),
}


@pytest.mark.parametrize("operator", sorted(OPERATORS))
def test_each_operator_tells_good_from_bad(operator: str) -> None:
    limit, good, bad = OPERATOR_CASES[operator]
    assert broken_limits(good, {operator: limit}) == []
    assert len(broken_limits(bad, {operator: limit})) == 1
    assert len(broken_limits(None, {operator: limit})) == 1


def test_every_table_rule_has_an_audit() -> None:
    assert set(AUDITS) == set(get_args(TableRuleKind))
    assert set(METRICS) == set(METRIC_CASES)
    assert set(OPERATORS) == set(OPERATOR_CASES)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ('SELECT count(*) FROM "orders"', 4),
        ("SELECT count(*) FROM orders a JOIN orders b ON a.id = b.id", 6),  # more than one look at the rows
        ("SELECT sum(price) FROM orders", 4),
        ("SELECT count(*) FROM orders WHERE ref = '00000000-0000-0000-0000-000000000001'", 1),
        ("SELECT max(o.k) FROM orders", 3),
        ("SELECT count(*) FROM orders WHERE \"at\" = TIMESTAMPTZ '2026-01-01 00:00:00+00'", 1),
    ],
)
def test_sql_rules_see_all_rows_in_their_types(judged: Any, query: str, value: int) -> None:
    assert judged("sql", {"query": query, "table": "orders", "limit": {"mustBe": value}}) == []
    (found,) = judged("sql", {"query": query, "table": "orders", "limit": {"mustBe": -1}}, severity="warning")
    assert (found.severity, found.example) == ("warning", f"the query gives {value} and must be -1")


def test_a_query_that_fails_on_the_rows_breaks_its_rule(judged: Any) -> None:
    query = "SELECT sum(CAST(status AS INTEGER)) FROM orders"
    (found,) = judged("sql", {"query": query, "table": "orders", "limit": {"mustBe": 0}})
    assert "cannot be answered" in found.example


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM read_text('/etc/passwd')",
        "SELECT count(*) FROM '/etc/passwd'",
        "SELECT count(*) FROM read_parquet('https://example.com/x.parquet')",
        "COPY (SELECT 1) TO '/tmp/leak.csv'",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "SET memory_limit = '10GB'",
        "SELECT count(*) FROM COLUMNS",
        "SELECT getenv('HOME')",
    ],
)
def test_a_query_reaches_nothing_but_its_rows(query: str) -> None:
    with pytest.raises(SqlProblem):
        require_valid(query, "orders", COLUMNS)
