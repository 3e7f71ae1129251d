"""SQL rules of a contract: one SELECT over the rows of a run that gives one number, in a DuckDB that reaches nothing else.

No file, network, extension or setting is within reach of a query; memory is bounded and spills to a directory of its own.
"""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import duckdb

    from target_iceberg.load_plan import Column

_PLACEHOLDER = re.compile(r"\$?\{(\w+)\}")
_OF_OBJECT = frozenset({"object", "table", "model", "schema"})
_OF_COLUMN = frozenset({"property", "column", "field"})
_MEMORY_LIMIT = "128MB"
_DECIMAL = re.compile(r"decimal\(\d+,\d+\)")
_TYPES = {
    "long": "BIGINT", "int": "INTEGER", "double": "DOUBLE", "float": "FLOAT", "boolean": "BOOLEAN", "string": "VARCHAR",
    "date": "DATE", "time": "TIME", "timestamp": "TIMESTAMP", "timestamptz": "TIMESTAMPTZ", "uuid": "UUID", "binary": "BLOB",
}  # fmt: skip


class SqlProblem(ValueError):  # noqa: N818 - a finding about a contract
    """The query cannot be a rule; the message says why."""


def with_names(query: str, table: str, column: str | None) -> str:
    """The query with its placeholders filled in: ${object}, ${table}, {model}; ${property}, ${column} of a column's rule.

    Raises:
        SqlProblem: a placeholder that is neither.
    """

    def name(match: re.Match[str]) -> str:
        word = match[1].lower()
        if word in _OF_OBJECT:
            return quoted(table)
        if word in _OF_COLUMN and column is not None:
            return quoted(column)
        raise SqlProblem(f"nothing is known for the placeholder {match[0]}")

    return _PLACEHOLDER.sub(name, query)


def require_valid(query: str, table: str, columns: tuple[Column, ...]) -> None:
    """Bind a query to an empty table of the contract's columns.

    Raises:
        SqlProblem: it is not one SELECT, names something that does not exist, or does not give one value.
    """
    import duckdb

    with sandbox() as connection:
        described = ", ".join(f"{quoted(c.name)} {_type(c)}" for c in columns)
        connection.execute(f"CREATE TABLE {quoted(table)} ({described})")
        try:
            statements = connection.extract_statements(query)
        except duckdb.Error as e:
            raise SqlProblem(_first_line(e)) from e
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise SqlProblem("it must be one SELECT")
        try:
            found = connection.execute(query)
        except duckdb.Error as e:
            raise SqlProblem(_first_line(e)) from e
        if len(found.description or ()) != 1:
            raise SqlProblem("it must give one column")


def value_of(query: str, connection: duckdb.DuckDBPyConnection) -> float | None:
    """The number that a query gives; None for NULL.

    Raises:
        SqlProblem: it fails on these rows, or gives no number.
    """
    import duckdb

    try:
        rows = connection.execute(query).fetchmany(2)
    except duckdb.Error as e:
        raise SqlProblem(_first_line(e)) from e
    if len(rows) != 1:
        raise SqlProblem(f"it gives {'no row' if not rows else 'more than one row'}")
    value = rows[0][0]
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError) as e:
        raise SqlProblem(f"it gives {type(value).__name__}, not a number") from e


@contextmanager
def sandbox() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own, on disk, from which nothing outside can be reached."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="dativo-sql-") as directory:
        config: dict[str, Any] = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": str(Path(directory) / "spill"),
            "threads": 2,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "python_enable_replacements": False,
        }
        with duckdb.connect(str(Path(directory) / "rows.duckdb"), config=config) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection


def quoted(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _type(column: Column) -> str:
    if column.type == "struct":
        return f"STRUCT({', '.join(f'{quoted(c.name)} {_type(c)}' for c in column.fields)})"
    if column.type == "list":
        return f"{_type(column.fields[0])}[]"
    if column.type == "map":
        return f"MAP({_type(column.fields[0])}, {_type(column.fields[1])})"
    return column.type.upper() if _DECIMAL.fullmatch(column.type) else _TYPES[column.type]


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
