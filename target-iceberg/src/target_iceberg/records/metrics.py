"""ODCS library metrics over the rows that a run has staged, and how a value is compared with a rule's limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.errors import TargetError
from target_iceberg.records.checks import RuleProblem, compile_check

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_iceberg.load_plan import Column, Rule, StreamPlan
    from target_iceberg.records.staged_rows import StagedRows

OPERATORS: dict[str, tuple[str, Callable[[float, Any], bool]]] = {
    "mustBe": ("be {0}", lambda value, limit: value == limit),
    "mustNotBe": ("not be {0}", lambda value, limit: value != limit),
    "mustBeGreaterThan": ("be greater than {0}", lambda value, limit: value > limit),
    "mustBeGreaterOrEqualTo": ("be at least {0}", lambda value, limit: value >= limit),
    "mustBeLessThan": ("be less than {0}", lambda value, limit: value < limit),
    "mustBeLessOrEqualTo": ("be at most {0}", lambda value, limit: value <= limit),
    "mustBeBetween": ("lie between {0[0]} and {0[1]}", lambda value, limit: limit[0] <= value <= limit[1]),
    "mustNotBeBetween": ("not lie between {0[0]} and {0[1]}", lambda value, limit: not limit[0] <= value <= limit[1]),
}
"""Operator -> (what it asks for, whether a value has it); bounds count as between."""


def broken_limits(value: float | None, limits: dict[str, Any]) -> list[str]:
    """What a value must be and is not; no value breaks every limit."""
    return [
        OPERATORS[o][0].format(limit)
        for o, limit in limits.items()
        if value is None or not OPERATORS[o][1](value, limit)
    ]


def metric_value(plan: StreamPlan, rule: Rule, rows: StagedRows) -> float:
    """The value of a metric in the rule's unit.

    Raises:
        TargetError: the metric does not exist or suits none of the columns.
    """
    argument: dict[str, Any] = rule.argument
    name = argument["metric"]
    if name not in METRICS:
        raise TargetError(f"rule {rule.name}: no metric {name!r}; known are {', '.join(METRICS)}", "configuration")
    found = METRICS[name](plan, rule, rows)
    if argument.get("unit", "rows") != "percent":
        return found
    total = rows.count()
    return 100 * found / total if total else 0.0


def _row_count(plan: StreamPlan, rule: Rule, rows: StagedRows) -> int:  # noqa: ARG001 - all metrics are called alike
    return rows.count()


def _null_values(plan: StreamPlan, rule: Rule, rows: StagedRows) -> int:  # noqa: ARG001
    return sum(c.null_count for batch in rows.batches(rule.columns[:1]) for c in batch.columns)


def _missing_values(plan: StreamPlan, rule: Rule, rows: StagedRows) -> int:
    listed = rule.argument.get("arguments", {}).get("missingValues", [None])
    values = [v for v in listed if v is not None]
    test = _test(plan, rule, "enum", values) if values else None
    found = 0
    for batch in rows.batches(rule.columns[:1]):
        column = batch.column(0)
        if None in listed:
            found += column.null_count
        if test is not None:
            found += pc.sum(pc.and_(pc.is_valid(column), pc.fill_null(test(column), False))).as_py() or 0
    return int(found)


def _invalid_values(plan: StreamPlan, rule: Rule, rows: StagedRows) -> int:
    arguments = rule.argument.get("arguments", {})
    tests = [
        _test(plan, rule, kind, arguments[key])
        for key, kind in (("validValues", "enum"), ("pattern", "pattern"))
        if key in arguments
    ]
    found = 0
    for batch in rows.batches(rule.columns[:1]):
        ok = pa.repeat(True, batch.num_rows)
        for test in tests:
            ok = pc.and_(ok, pc.fill_null(test(batch.column(0)), True))
        found += batch.num_rows - (pc.sum(ok).as_py() or 0)
    return int(found)


def _duplicate_values(plan: StreamPlan, rule: Rule, rows: StagedRows) -> int:  # noqa: ARG001
    from target_iceberg.records.staged_rows import count_duplicates

    return count_duplicates(rows, rule.columns)[0]


def _test(plan: StreamPlan, rule: Rule, kind: str, argument: Any) -> Callable[[Any], Any]:
    column: Column = next(c for c in plan.columns if c.name == rule.columns[0])
    try:
        return compile_check(kind, column, argument)
    except RuleProblem as e:
        raise TargetError(f"rule {rule.name}: {e}", "configuration") from e


METRICS: dict[str, Callable[[StreamPlan, Rule, StagedRows], int]] = {
    "rowCount": _row_count,
    "nullValues": _null_values,
    "missingValues": _missing_values,
    "invalidValues": _invalid_values,
    "duplicateValues": _duplicate_values,
}
"""Metric by its ODCS name."""
