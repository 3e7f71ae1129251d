"""Rules about a whole table, judged over the Parquet files that a run has staged, in bounded memory."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from target_iceberg.errors import TargetError
from target_iceberg.records.metrics import broken_limits, metric_value
from target_iceberg.records.record_json import value_json
from target_iceberg.records.rejects import MASK, classified_names
from target_iceberg.run_report import RuleCount
from target_iceberg.sql_rules import SqlProblem, quoted, sandbox, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

    from target_iceberg.load_plan import Column, Rule, StreamPlan

BATCH_ROWS = 1 << 17
MAX_HASHES = 8 << 20
"""Hashes sorted at once (64 MB); with more rows the files are read once more for each further share of them."""
_MAX_VERIFIED = 10_000


class StagedRows:
    """The rows of Parquet files, read column by column.

    Args:
        files: whatever `open_file` understands; paths by default.
        open_file: gives a path or file-like object for `pyarrow.parquet.ParquetFile`.
        file_columns: name in the files of a column that is called otherwise in the plan.
    """

    def __init__(
        self,
        files: Sequence[Any],
        open_file: Callable[[Any], Any] | None = None,
        file_columns: Mapping[str, str] | None = None,
    ) -> None:
        self._files = list(files)
        self._open = open_file or (lambda file: file)
        self._names = dict(file_columns or {})

    def count(self) -> int:
        """Rows in all files."""
        total = 0
        for file in self._files:
            with pq.ParquetFile(self._open(file)) as parquet:
                total += parquet.metadata.num_rows
        return total

    def batches(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Batches of some columns, under the plan's names."""
        names = [self._names.get(c, c) for c in columns]
        for file in self._files:
            with pq.ParquetFile(self._open(file)) as parquet:
                for batch in parquet.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                    yield batch.select(names).rename_columns(list(columns))


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


def count_duplicates(rows: StagedRows, columns: Sequence[str]) -> tuple[int, pa.Table | None]:
    """(rows that repeat an earlier row's values, one of them); rows with a NULL among the values do not count.

    64-bit hashes are sorted, which proves uniqueness if none comes twice; those that do are looked up in the files.
    """
    total = rows.count()
    shares = max(1, math.ceil(total / MAX_HASHES))
    duplicates, suspects = 0, []
    for share in range(shares):
        hashes = _hashes(rows, columns, total if shares == 1 else MAX_HASHES * 2, share, shares)
        hashes.sort()
        again = hashes[1:][hashes[1:] == hashes[:-1]]
        duplicates += len(again)
        suspects.append(
            again[np.concatenate(([True], again[1:] != again[:-1]))][:_MAX_VERIFIED] if len(again) else again
        )
    if not duplicates:
        return 0, None
    collisions, example = _verify(rows, columns, np.sort(np.concatenate(suspects)[:_MAX_VERIFIED]))
    return duplicates - collisions, example


def _hashes(rows: StagedRows, columns: Sequence[str], at_most: int, share: int, shares: int) -> npt.NDArray[np.uint64]:
    """Hashes of this share of the rows, `(n,)`."""
    found = np.empty(at_most, np.uint64)
    n = 0
    with duckdb.connect() as connection:
        for batch in rows.batches(columns):
            hashes = _hash(connection, batch)
            if shares > 1:
                hashes = hashes[hashes % np.uint64(shares) == share]
            if n + len(hashes) > len(found):  # a share that came out larger than twice its average
                found = np.concatenate((found, np.empty(len(found), np.uint64)))
            found[n : n + len(hashes)] = hashes
            n += len(hashes)
    return found[:n]


def _hash(connection: duckdb.DuckDBPyConnection, batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    complete = _complete(batch)
    connection.register("batch", complete)
    result = connection.execute(f"SELECT hash({_list(complete)}) AS h FROM batch").fetchnumpy()  # noqa: S608 - names are quoted
    return np.asarray(result["h"], np.uint64)


def _complete(batch: pa.RecordBatch) -> pa.Table:
    """Rows without NULL, NULLs being equal to nothing."""
    table = pa.Table.from_batches([batch])
    for name in table.column_names:
        if table[name].null_count:
            table = table.filter(pc.is_valid(table[name]))
    return table


def _list(table: pa.Table) -> str:
    return ", ".join('"' + name.replace('"', '""') + '"' for name in table.column_names)


def _verify(rows: StagedRows, columns: Sequence[str], suspects: npt.NDArray[np.uint64]) -> tuple[int, pa.Table | None]:
    """(rows that only share a hash with another, one row whose values do repeat) among the rows with these hashes."""
    repeated = 0
    kept: list[pa.Table] = []
    with duckdb.connect() as connection:
        for batch in rows.batches(columns):
            complete = _complete(batch)
            hashes = _hash(connection, batch)
            hit = suspects[np.minimum(np.searchsorted(suspects, hashes), len(suspects) - 1)] == hashes
            if hit.any():
                kept.append(complete.filter(pa.array(hit)))
        table = pa.concat_tables(kept)
        connection.register("kept", table)
        names = _list(table)
        query = f"SELECT count(*), CAST(sum(n - 1) AS BIGINT) FROM (SELECT count(*) AS n FROM kept GROUP BY {names})"  # noqa: S608 - names are quoted
        counted = connection.execute(query).fetchone()
        assert counted  # an aggregate has one row
        repeated = table.num_rows - len(suspects) - int(counted[1] or 0)
        example = connection.execute(
            f"SELECT min(r) FROM (SELECT row_number() OVER () - 1 AS r, count(*) OVER (PARTITION BY {names}) AS n FROM kept) "  # noqa: S608
            "WHERE n > 1"
        ).fetchone()
    return repeated, table.slice(example[0], 1) if example and example[0] is not None else None


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
