"""Rules about a whole table, judged over the Parquet files that a run has staged, in bounded memory."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.errors import TargetError
from target_iceberg.records.metrics import broken_limits, metric_value
from target_iceberg.records.record_json import value_json
from target_iceberg.records.rejects import MASK, classified_names
from target_iceberg.records.staged_rows import StagedRows, count_duplicates
from target_iceberg.run_report import RuleCount
from target_iceberg.sql_rules import SqlProblem, quoted, sandbox, value_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_iceberg.load_plan import Column, Rule, StreamPlan


def audit(
    plan: StreamPlan, rows: StagedRows, *, now: dt.datetime | None = None, unique_key: bool | None = None
) -> list[RuleCount]:
    """Broken table rules, in the order of the plan; an empty list when all hold.

    Args:
        now: moment that freshness is measured from; timezone-aware.
        unique_key: whether two rows of one key break a rule; by default in append, where nothing supersedes a row.
    """
    rules = [r for r in plan.rules if r.kind in AUDITS]
    if (plan.write_mode == "append" if unique_key is None else unique_key) and plan.key:
        rules = [_key_rule(plan), *rules]
    moment = now or dt.datetime.now(dt.timezone.utc)
    found = (AUDITS[r.kind](plan, r, rows, moment) for r in rules)
    return [f for f in found if f is not None]


def _key_rule(plan: StreamPlan) -> Rule:
    from target_iceberg.load_plan import Rule

    return Rule(name=f"{plan.stream}.key.unique", kind="unique", columns=plan.key)


def _finding(rule: Rule, records: int, message: str) -> RuleCount:
    return RuleCount(
        rule=rule.name,
        column=", ".join(rule.columns) or None,
        kind=rule.kind,
        severity=rule.severity,
        records=records,
        example=message,
    )


def _unique(plan: StreamPlan, rule: Rule, rows: StagedRows, now: dt.datetime) -> RuleCount | None:  # noqa: ARG001 - all audits are called alike
    duplicates, example = count_duplicates(rows, rule.columns)
    allowed = rule.argument or {}
    limit = float(allowed.get("max") or 0)
    if allowed.get("unit") == "percent":
        limit = rows.count() * limit / 100
    if duplicates <= limit:
        return None
    classified = classified_names(plan.columns)
    shown = (
        ", ".join(
            f"{name} = {MASK if name in classified else value_json(example, name, False)}" for name in rule.columns
        )
        if example
        else ""
    )
    return _finding(
        rule,
        duplicates,
        f"{duplicates:,} rows repeat a value that must be unique" + (f", e.g. {shown}" if shown else ""),
    )


def _row_count(plan: StreamPlan, rule: Rule, rows: StagedRows, now: dt.datetime) -> RuleCount | None:  # noqa: ARG001 - all audits are called alike
    count, low, high = rows.count(), (rule.argument or {}).get("min"), (rule.argument or {}).get("max")
    if low is not None and count < low:
        return _finding(rule, low - count, f"{count:,} rows, fewer than {low:,}")
    if high is not None and count > high:
        return _finding(rule, count - high, f"{count:,} rows, more than {high:,}")
    return None


def _freshness(plan: StreamPlan, rule: Rule, rows: StagedRows, now: dt.datetime) -> RuleCount | None:
    max_age_s = (rule.argument or {}).get("max_age_s")
    if not isinstance(max_age_s, (int, float)):
        raise TargetError(f"rule {rule.name}: the argument must be {{max_age_s: seconds}}", "configuration")
    newest: dt.datetime | None = None
    for batch in rows.batches(rule.columns):
        for column in batch.columns:
            latest = _moment(pc.max(column).as_py())
            newest = latest if newest is None or (latest is not None and latest > newest) else newest
    if newest is None:
        # No rows say nothing about age; rows without any value do.
        total = rows.count()
        return _finding(rule, total, f"{total:,} rows and no value") if total else None
    age_s = (now - newest).total_seconds()
    if age_s <= max_age_s:
        return None
    when = MASK if set(rule.columns) & classified_names(plan.columns) else newest.isoformat()
    return _finding(
        rule, rows.count(), f"the newest value, {when}, is {age_s:,.0f} s old; at most {max_age_s:,} s are allowed"
    )


def _metric(plan: StreamPlan, rule: Rule, rows: StagedRows, now: dt.datetime) -> RuleCount | None:  # noqa: ARG001 - all audits are called alike
    value = metric_value(plan, rule, rows)
    unit = " %" if rule.argument.get("unit") == "percent" else ""
    broken = broken_limits(value, rule.argument["limit"])
    if not broken:
        return None
    return _finding(rule, rows.count(), f"{rule.argument['metric']} is {value:g}{unit} and must {' and '.join(broken)}")


def _sql(plan: StreamPlan, rule: Rule, rows: StagedRows, now: dt.datetime) -> RuleCount | None:  # noqa: ARG001 - all audits are called alike
    names = [c.name for c in plan.columns]
    with sandbox() as connection:
        table, made = quoted(rule.argument["table"]), False
        for batch in rows.batches(names):
            # What DuckDB does not know of Arrow's types would become another type: uuids are read from their bytes.
            plain = pa.table([_storage(batch.column(n)) for n in names], names=names)
            connection.register("batch", plain)
            columns = ", ".join(_selected(c) for c in plan.columns)
            verb = f"INSERT INTO {table}" if made else f"CREATE TABLE {table} AS"
            connection.execute(f"{verb} SELECT {columns} FROM batch")  # noqa: S608 - names are quoted
            connection.unregister("batch")
            made = True
        if not made:
            return None  # no rows, nothing to judge
        try:
            value = value_of(rule.argument["query"], connection)
        except SqlProblem as e:
            return _finding(rule, rows.count(), f"the query cannot be answered: {e}")
    broken = broken_limits(value, rule.argument["limit"])
    shown = "NULL" if value is None else f"{value:g}"
    return _finding(rule, rows.count(), f"the query gives {shown} and must {' and '.join(broken)}") if broken else None


def _storage(column: Any) -> Any:
    return column.storage if isinstance(column, pa.ExtensionArray) else column


def _selected(column: Column) -> str:
    name = quoted(column.name)
    return f"CAST(CAST(hex({name}) AS VARCHAR) AS UUID) AS {name}" if column.type == "uuid" else name


def _moment(value: dt.datetime | dt.date | None) -> dt.datetime | None:
    """A value as an instant: UTC where it names no zone, the end of the day where it is a date."""
    if value is None:
        return None
    if not isinstance(value, dt.datetime):
        return dt.datetime.combine(value, dt.time.max, dt.timezone.utc)
    return value if value.tzinfo else value.replace(tzinfo=dt.timezone.utc)


AUDITS: dict[str, Callable[[StreamPlan, Rule, StagedRows, dt.datetime], RuleCount | None]] = {
    "unique": _unique,
    "row_count": _row_count,
    "freshness": _freshness,
    "metric": _metric,
    "sql": _sql,
}
"""Audit by `Rule.kind`."""
