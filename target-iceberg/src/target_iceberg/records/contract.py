"""A stream's contract, compiled once and run over tables of decoded records."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.errors import TargetError
from target_iceberg.records.checks import CHECKS, MESSAGES, RuleProblem, compile_check
from target_iceberg.records.metadata import deleted_rows
from target_iceberg.records.record_json import record_json, source_of, value_json
from target_iceberg.records.rejects import MAX_LISTED, Budget, RejectRow, classified_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import numpy.typing as npt

    from target_iceberg.load_plan import Column, Rule, StreamPlan

_MAX_ARGUMENT_CHARACTERS = 200


@dataclass(frozen=True)
class CompiledRule:
    """One row rule of a contract, ready to run."""

    name: str
    kind: str
    column: str
    severity: str
    message: str
    test: Callable[[pa.Table], Any]
    """Boolean column, true where a row passes; null counts as passed."""


@dataclass
class Verdict:
    """What the contract says of one table."""

    good: pa.Table
    """Rows that broke no rule of severity error, in their order."""
    rejects: list[RejectRow] = field(default_factory=list)
    """One per bad row, under its first broken rule; bounded per rule and run, see `n_rejected`."""
    n_rejected: int = 0
    """Bad rows, listed or not."""
    counts: dict[str, int] = field(default_factory=dict)
    """Rule of severity error -> rows that broke it."""
    warnings: dict[str, int] = field(default_factory=dict)
    """Rule of severity warning -> rows that broke it."""


class CompiledContract:
    """All row rules of a stream: those of the plan, and that key and required columns hold a value.

    Safe to call from several threads at once.

    Raises:
        TargetError: a rule cannot be executed; all such rules are named.
    """

    def __init__(self, plan: StreamPlan, max_listed: int = MAX_LISTED) -> None:
        self.plan = plan
        self._classified = classified_names(plan.columns)
        self._json_columns = frozenset(c.name for c in plan.columns if c.encoding == "json")
        self._budget = Budget(max_listed)
        problems: list[str] = []
        self._rules = [*_implied(plan), *_declared(plan, problems)]
        if problems:
            raise TargetError(
                f"stream {plan.stream}: rules that cannot be executed: {'; '.join(problems)}", "configuration"
            )
        self.rules: dict[str, CompiledRule] = {r.name: r for r in self._rules}

    def check(self, table: pa.Table) -> Verdict:
        """Judge a table as `Decoder` gives it."""
        verdict = Verdict(table)
        bad: npt.NDArray[np.bool_] | None = None
        by_name: dict[str, npt.NDArray[np.bool_]] = {}
        # Of a row that is to leave the table a tap may send no more than the key.
        dead = deleted_rows(table) if self.plan.hard_delete else None
        for rule in self._rules:
            ok = rule.test(table)
            if dead is not None and not (rule.kind == "not_null" and rule.column in self.plan.key):
                ok = pc.or_(ok, dead)
            if pc.all(ok).as_py() is not False:
                continue
            broken = ~pc.fill_null(ok, True).to_numpy(zero_copy_only=False)
            # A rule of several columns is broken once by a row, however many of them break it.
            by_name[rule.name] = by_name[rule.name] | broken if rule.name in by_name else broken
            into = verdict.counts if rule.severity == "error" else verdict.warnings
            into[rule.name] = int(by_name[rule.name].sum())
            if rule.severity == "error":
                self._list(rule, table, broken if bad is None else broken & ~bad, verdict)
                bad = broken if bad is None else bad | broken
        if bad is not None:
            verdict.n_rejected = int(bad.sum())
            verdict.good = table.filter(pa.array(~bad))
        return verdict

    def _list(self, rule: CompiledRule, table: pa.Table, first: npt.NDArray[np.bool_], verdict: Verdict) -> None:
        left = self._budget.left(rule.name)
        if not left:
            return
        rows = np.flatnonzero(first)[:left]
        self._budget.take(rule.name, len(rows))
        listed = table.take(pa.array(rows))
        column = rule.column if rule.column in table.column_names else re.split(r"\.|\[\]", rule.column)[0]
        for i in range(len(rows)):
            row = listed.slice(i, 1)
            file, position = source_of(row)
            verdict.rejects.append(
                RejectRow(
                    rule=rule.name,
                    column=rule.column,
                    kind=rule.kind,
                    message=rule.message,
                    value=value_json(row, column, column in self._classified),
                    record=record_json(row, self._classified, self._json_columns),
                    source_file=file,
                    source_record=position,
                )
            )


def _declared(plan: StreamPlan, problems: list[str]) -> Iterator[CompiledRule]:
    for rule in plan.rules:
        if rule.kind not in CHECKS:
            continue  # rules about the whole table are audited
        for name in rule.columns:
            try:
                outer, _, path = name.partition("[]")
                column, get = _find(plan.columns, outer)
                test = _compiled(rule, column, path if outer != name else None)
            except RuleProblem as e:
                problems.append(f"{rule.name}: {e}")
                continue
            yield CompiledRule(rule.name, rule.kind, name, rule.severity, _message(rule), _of_column(get, test))


def _compiled(rule: Rule, column: Column, below: str | None) -> Callable[[Any], Any]:
    """The test of a column, or of what lies below its elements: `.sku` of `items[].sku`."""
    if below is None:
        return compile_check(rule.kind, column, rule.argument)
    if column.type != "list":
        raise RuleProblem(f"a column of type {column.type} has no elements")
    path, _, deeper = below.partition("[]")
    element, get = _find((column.fields[0],), f"element{path}")
    test = _compiled(rule, element, deeper if path != below else None)
    return lambda values: _all_elements(values, lambda items: test(get({"element": items})))


def _all_elements(values: Any, test: Callable[[Any], Any]) -> Any:
    """Boolean, one per row of a list: all elements pass; NULL and empty lists do."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    offsets = array.offsets.to_numpy()
    ok = pc.fill_null(test(array.values), True)
    wrong = np.concatenate(([0], np.cumsum(~np.asarray(ok))))
    return pc.or_(pa.array(wrong[offsets[1:]] == wrong[offsets[:-1]]), pc.is_null(array))


def _of_column(get: Callable[[pa.Table], Any], test: Callable[[Any], Any]) -> Callable[[pa.Table], Any]:
    return lambda table: test(get(table))


def _message(rule: Rule) -> str:
    argument = ", ".join(map(str, rule.argument)) if isinstance(rule.argument, list) else str(rule.argument)
    if len(argument) > _MAX_ARGUMENT_CHARACTERS:
        argument = argument[: _MAX_ARGUMENT_CHARACTERS - 1] + "…"
    text = MESSAGES[rule.kind].format(argument)
    return f"{rule.description} ({text})" if rule.description else text


def _find(columns: tuple[Column, ...], name: str) -> tuple[Column, Callable[[pa.Table], Any]]:
    """Column of a name, and how to get it from a table; `address.city` is a member unless a column is called that."""
    for column in columns:
        if column.name == name:
            return column, lambda table: table[name]
    if "[]" in name:
        raise RuleProblem(f"no column {name!r}")
    head, _, path = name.partition(".")
    found = next((c for c in columns if c.name == head), None)
    steps = []
    while found is not None and found.type == "struct" and path:
        step, _, path = path.partition(".")
        steps.append(step)
        found = next((c for c in found.fields if c.name == step), None)
    if found is None or path:
        raise RuleProblem(f"no column {name!r}")
    return found, lambda table: pc.struct_field(table[head], steps)


def _implied(plan: StreamPlan) -> Iterator[CompiledRule]:
    """not_null of key and required columns, unless a rule of severity error says so already."""
    said = {c for r in plan.rules if r.kind == "not_null" and r.severity == "error" for c in r.columns}
    for column in plan.columns:
        if (column.required or column.name in plan.key) and column.name not in said:
            _, get = _find(plan.columns, column.name)
            rule = f"{plan.stream}.{column.name}.not_null"
            yield CompiledRule(
                rule, "not_null", column.name, "error", MESSAGES["not_null"], _of_column(get, pc.is_valid)
            )
        yield from _implied_members(plan.stream, column)


def _implied_members(stream: str, column: Column) -> Iterator[CompiledRule]:
    if not any(_has_required(c) for c in column.fields):
        return
    name = column.name
    yield CompiledRule(
        f"{stream}.{name}.member_not_null",
        "not_null",
        name,
        "error",
        "NULL in a member where a value must be",
        lambda table: _members_present(table[name], column),
    )


def _has_required(column: Column) -> bool:
    return column.required or any(_has_required(c) for c in column.fields)


def _members_present(values: Any, column: Column) -> Any:
    """Boolean, one per row: no required member below is NULL."""
    if column.type == "struct":
        ok = (
            pa.chunked_array([pa.repeat(True, len(values))])
            if isinstance(values, pa.ChunkedArray)
            else pa.repeat(True, len(values))
        )
        for member in column.fields:
            child = pc.struct_field(values, [member.name])
            if member.required:
                ok = pc.and_(ok, pc.is_valid(child))
            if any(_has_required(c) for c in member.fields):
                ok = pc.and_(ok, _members_present(child, member))
        # What is not there has no members.
        return pc.or_(ok, pc.is_null(values))
    return _elements_present(values, column)


def _elements_present(values: Any, column: Column) -> Any:
    """Boolean, one per row of a list or map: no required element below is NULL."""
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks)
    element = column.fields[-1]
    items = array.values if column.type == "list" else array.items
    ok = pc.is_valid(items) if element.required else pa.repeat(True, len(items))
    if any(_has_required(c) for c in element.fields):
        ok = pc.and_(ok, _members_present(items, element))
    wrong = np.concatenate(([0], np.cumsum(~ok.to_numpy(zero_copy_only=False))))
    offsets = array.offsets.to_numpy()
    return pc.or_(pa.array(wrong[offsets[1:]] == wrong[offsets[:-1]]), pc.is_null(array))
