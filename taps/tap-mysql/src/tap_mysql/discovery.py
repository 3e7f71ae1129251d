"""What the server says of tables: columns with their types, keys, and how to reach a row by its cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymysql.constants import FIELD_TYPE

from tap_kit.database.source import Described
from tap_kit.errors import TapError, TransientError
from tap_mysql.types import MyColumn, identifier, literal

if TYPE_CHECKING:
    from tap_kit.database.settings import Item
    from tap_mysql.client import Client
    from tap_mysql.columns import Field
    from tap_mysql.settings import Settings

_TABLE = """
SELECT TABLE_TYPE, TABLE_ROWS, TABLE_COMMENT FROM information_schema.TABLES
WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}
"""
_COLUMNS = """
SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, IS_NULLABLE = 'NO', COLUMN_COMMENT
FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table} ORDER BY ORDINAL_POSITION
"""
# MariaDB's JSON is a longtext with a check.
_JSON = """
SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS
WHERE CONSTRAINT_SCHEMA = {schema} AND TABLE_NAME = {table} AND CHECK_CLAUSE LIKE 'json_valid(%'
"""
_INDEXES = """
SELECT INDEX_NAME, COLUMN_NAME, NON_UNIQUE, NULLABLE = 'YES' OR SUB_PART IS NOT NULL OR COLUMN_NAME IS NULL
FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {table}
ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX
"""
_NEAR = """
SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE LOWER(TABLE_NAME) = LOWER({table})
AND TABLE_SCHEMA NOT IN ('mysql', 'sys', 'performance_schema', 'information_schema')
ORDER BY TABLE_SCHEMA <> {schema}, 1 LIMIT 5
"""
_TABLES = """
SELECT TABLE_NAME FROM information_schema.TABLES
WHERE TABLE_SCHEMA = {schema} AND TABLE_TYPE IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') ORDER BY TABLE_NAME
"""


def describe(client: Client, item: Item, settings: Settings) -> Described:
    """Look a table or query up.

    Raises:
        TapError: there is none of the name that the user may see.
    """
    if item.sql is not None:
        return _query(client, item, settings)
    names = {"schema": literal(item.schema), "table": literal(item.name)}
    found = client.rows(_TABLE.format(**names))
    if not found:
        near = client.rows(_NEAR.format(**names))
        hint = (
            f"; there is {', '.join(r[0] for r in near)}"
            if near
            else f"; check database and spelling, and whether {settings.user} may see it: GRANT SELECT ON {item.shown} TO {settings.user}"
        )
        raise TapError(f"MySQL {settings.where}: there is no table {item.shown} (stream {item.stream}){hint}")
    kind, rows, comment = found[0]
    is_table = kind != "VIEW"
    json_names = _json_columns(client, names) if is_table else set()
    columns = tuple(
        MyColumn(name, type_.lower(), shown, precision, scale, bool(required), said or None, name in json_names)
        for name, type_, shown, precision, scale, required, said in client.rows(_COLUMNS.format(**names))
    )
    key = _key(client, names) if is_table else ()
    relation = f"{identifier(item.schema)}.{identifier(item.name)}"
    is_told = comment and comment != "VIEW"
    try:
        client.rows(f"SELECT * FROM {relation} LIMIT 0")  # noqa: S608
        unseen = None
    except TransientError:
        raise
    except TapError as e:  # the catalog shows only those columns that the user may read
        unseen = str(e)
    return Described(
        item,
        columns,
        key,
        relation,
        rows=int(rows or 0),
        is_table=is_table,
        is_unique=bool(key),
        comment=comment if is_told else None,
        unseen=unseen,
    )


def _json_columns(client: Client, names: dict[str, str]) -> set[str]:
    try:
        clauses = client.rows(_JSON.format(**names))
    except TapError:  # MySQL, which has a type for it and no such column
        return set()
    return {clause[0][len("json_valid(`") : -len("`)")] for clause in clauses}


def _key(client: Client, names: dict[str, str]) -> tuple[str, ...]:
    """The primary key, else the shortest unique index over columns that are never NULL."""
    indexes: dict[str, list[tuple[str, bool]]] = {}
    for name, column, not_unique, unfit in client.rows(_INDEXES.format(**names)):
        indexes.setdefault(name, []).append((column, bool(not_unique) or bool(unfit)))
    usable = [tuple(c for c, _ in parts) for name, parts in indexes.items() if not any(unfit for _, unfit in parts)]
    if "PRIMARY" in indexes:
        return usable[0]
    return min(usable, key=len, default=())


def _query(client: Client, item: Item, settings: Settings) -> Described:
    """A query's columns as its result set has them; nothing is known of keys."""
    relation = f"({item.sql}\n) AS q"  # its last line may be a comment
    try:
        fields = client.fields(f"SELECT * FROM {relation} LIMIT 0")  # noqa: S608
    except TapError as e:
        raise type(e)(f"{e} ({item.shown})") from e
    names = [f.name for f in fields]
    if missing := [k for k in item.key if k not in names]:
        raise TapError(
            f"MySQL {settings.where}: {item.shown}: has no column {', '.join(missing)} to be the key; it has {', '.join(names)}"
        )
    columns = tuple(_column_of(field, is_key=field.name in item.key) for field in fields)
    return Described(item, columns, item.key, relation, is_table=False)


_CODES = {
    FIELD_TYPE.TIMESTAMP: "timestamp", FIELD_TYPE.DATETIME: "datetime", FIELD_TYPE.DATE: "date", FIELD_TYPE.TIME: "time",
    FIELD_TYPE.JSON: "json", FIELD_TYPE.YEAR: "year", FIELD_TYPE.FLOAT: "float", FIELD_TYPE.DOUBLE: "double",
    FIELD_TYPE.LONGLONG: "bigint", FIELD_TYPE.LONG: "int", FIELD_TYPE.INT24: "int", FIELD_TYPE.SHORT: "int", FIELD_TYPE.TINY: "int",
    FIELD_TYPE.GEOMETRY: "geometry",
}  # fmt: skip


def _column_of(field: Field, *, is_key: bool) -> MyColumn:
    if field.type in (FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL):
        return MyColumn(field.name, "decimal", "decimal", 38, min(field.decimals, 38), is_key)
    if field.type == FIELD_TYPE.BIT:
        return MyColumn(field.name, "bit", "bit(64)", None, None, is_key)
    kind = _CODES.get(field.type) or ("blob" if field.is_binary else "text")
    shown = "bigint unsigned" if kind == "bigint" and field.is_unsigned else kind
    return MyColumn(field.name, kind, shown, None, None, is_key)


def tables(client: Client, schema: str) -> list[str]:
    """Tables and views of a database that the user may see."""
    return [row[0] for row in client.rows(_TABLES.format(schema=literal(schema)))]


def has_index(client: Client, described: Described, column: str) -> bool:
    """Whether an index begins with a column."""
    names = {"schema": literal(described.item.schema), "table": literal(described.item.name)}
    first: dict[str, str] = {}
    for name, found, _, _ in client.rows(_INDEXES.format(**names)):
        first.setdefault(name, found)
    return column in first.values()
