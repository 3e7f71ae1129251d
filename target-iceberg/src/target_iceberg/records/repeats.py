"""Rules by which a row is bad because another one is there, and the rejects that they make."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_iceberg.load_plan import Rule
from target_iceberg.records.record_json import record_json, source_of, value_json
from target_iceberg.records.rejects import RejectRow, classified_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from target_iceberg.load_plan import StreamPlan


def key_rule(plan: StreamPlan) -> Rule:
    """That no key comes twice."""
    return Rule(name=f"{plan.stream}.key.unique", kind="unique", columns=plan.key)


def unique_rules(plan: StreamPlan) -> list[Rule]:
    """Rules of an append by which a single record is bad: its key, and columns of which no value may come twice."""
    if plan.write_mode != "append":
        return []
    rules = [r for r in plan.rules if r.kind == "unique" and r.severity == "error" and r.argument is None]
    if plan.key and not any(set(r.columns) == set(plan.key) for r in rules):
        rules.insert(0, key_rule(plan))
    return rules


def reject_rows(plan: StreamPlan, rule: Rule, rows: pa.Table) -> Iterator[RejectRow]:
    """A reject for each row."""
    classified = classified_names(plan.columns)
    json_columns = frozenset(c.name for c in plan.columns if c.encoding == "json")
    for i in range(rows.num_rows):
        row = rows.slice(i, 1)
        source, position = source_of(row)
        column = rule.columns[0]
        yield RejectRow(
            rule=rule.name,
            column=", ".join(rule.columns),
            kind="unique",
            message="repeats a value that must be unique",
            value=value_json(row, column, column in classified),
            record=record_json(row, classified, json_columns),
            source_file=source,
            source_record=position,
        )
