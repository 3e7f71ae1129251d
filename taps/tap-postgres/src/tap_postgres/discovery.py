"""What the server says of tables: columns with their types, keys, and how to reach a row by its cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_kit.database.source import Described
from tap_kit.errors import TapError
from tap_postgres.types import PgColumn, identifier, literal

if TYPE_CHECKING:
    from tap_kit.database.settings import Item
    from tap_postgres.client import Client
    from tap_postgres.settings import Settings

# A domain counts as what it is made of; arrays of domains stay arrays.
_BASE = """
WITH RECURSIVE base(start, oid, typname, typcategory, typtype, typbasetype, typtypmod) AS (
  SELECT oid, oid, typname, typcategory, typtype, typbasetype, typtypmod FROM pg_catalog.pg_type
  UNION ALL
  SELECT b.start, t.oid, t.typname, t.typcategory, t.typtype, t.typbasetype,
         CASE WHEN b.typtypmod >= 0 THEN b.typtypmod ELSE t.typtypmod END
  FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd'
)
"""
_COLUMNS = (
    _BASE
    + """
SELECT a.attname::text, b.typname::text, b.typcategory::text,
       (CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE b.typtypmod END)::int8, a.attnotnull,
       pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.col_description(a.attrelid, a.attnum)
FROM pg_catalog.pg_attribute a JOIN base b ON b.start = a.atttypid AND b.typtype <> 'd'
WHERE a.attrelid = {table}::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
)
_TYPES = (
    _BASE
    + """
SELECT b.start::int8, b.typname::text, b.typcategory::text, b.typtypmod::int8, pg_catalog.format_type(b.start, -1)
FROM base b WHERE b.typtype <> 'd' AND b.start IN ({oids})
"""
)
# The primary key, else a unique index over columns that are never NULL.
_KEY = """
SELECT i.indisprimary, a.attname::text FROM (
  SELECT i.* FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
  WHERE i.indrelid = {table}::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
    AND i.indimmediate AND NOT EXISTS (
      SELECT 1 FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS u(attnum, n) JOIN pg_catalog.pg_attribute a
      ON a.attrelid = i.indrelid AND a.attnum = u.attnum WHERE u.n <= i.indnkeyatts AND NOT a.attnotnull)
  ORDER BY i.indisprimary DESC, i.indnkeyatts, c.relname LIMIT 1
) i
JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, n) ON k.n <= i.indnkeyatts
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.n
"""
_INDEXED = """
SELECT count(*) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
WHERE i.indrelid = {table}::regclass AND a.attname = {column} AND i.indisvalid AND i.indpred IS NULL
"""
# Rows of an inheritance parent are also those of its children, among which its key is not unique.
_KIND = """
SELECT c.relkind::text,
       (SELECT greatest(sum(p.reltuples), 0) FROM pg_catalog.pg_class p WHERE p.oid = c.oid OR p.oid IN (
          SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = c.oid))::int8,
       c.relkind = 'r' AND EXISTS (SELECT 1 FROM pg_catalog.pg_inherits WHERE inhparent = c.oid),
       pg_catalog.obj_description(c.oid, 'pg_class'), pg_catalog.has_table_privilege(c.oid, 'SELECT')
         OR pg_catalog.has_any_column_privilege(c.oid, 'SELECT')
FROM pg_catalog.pg_class c WHERE c.oid = {table}::regclass
"""
_NEAR = """
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE lower(c.relname) = lower({name}) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT LIKE 'pg\\_%' LIMIT 5
"""
# Partitions are read with the table that they are parts of.
_TABLES = """
SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = {schema} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
  AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e') ORDER BY c.relname
"""
_EXISTS = "SELECT pg_catalog.to_regclass({table})::oid::int8"
_SCHEMA = "SELECT pg_catalog.has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace WHERE nspname = {schema}"


def describe(client: Client, item: Item, settings: Settings) -> Described:
    """Look a table or query up.

    Raises:
        TapError: there is none of the name, or the role may not read it.
    """
    if item.sql is not None:
        return _query(client, item, settings)
    relation = f"{identifier(item.schema)}.{identifier(item.name)}"
    name = literal(relation)
    where = f"PostgreSQL {settings.where}"
    usage = client.rows(_SCHEMA.format(schema=literal(item.schema)))
    if usage and not usage[0][0]:
        grant = f"GRANT USAGE ON SCHEMA {identifier(item.schema)} TO {settings.user}"
        raise TapError(
            f"{where}: {settings.user} may not read {item.shown}: permission denied for schema; grant it there: {grant}"
        )
    if client.rows(_EXISTS.format(table=name))[0][0] is None:
        near = client.rows(_NEAR.format(name=literal(item.name)))
        hint = f"; there is {', '.join(r[0] for r in near)}" if near else "; check schema and spelling"
        raise TapError(f"{where}: there is no table {item.shown} (stream {item.stream}){hint}")
    kind, rows, has_children, comment, may_read = client.rows(_KIND.format(table=name))[0]
    if not may_read:
        grant = f"GRANT SELECT ON {relation} TO {settings.user}"
        raise TapError(
            f"{where}: {settings.user} may not read {item.shown}: permission denied; grant it there: {grant}"
        )
    columns = tuple(PgColumn(*row) for row in client.rows(_COLUMNS.format(table=name)))
    # Each of the tables that inherit from it keeps its own rows apart, and nothing keeps those of one from those of another.
    key = [] if has_children else client.rows(_KEY.format(table=name))
    return Described(
        item,
        columns,
        tuple(column for _, column in key),
        relation,
        rows=int(rows or 0),
        is_table=kind in ("r", "p", "m"),
        is_unique=bool(key),
        comment=comment,
    )


def _query(client: Client, item: Item, settings: Settings) -> Described:
    """A query's columns have types, but no precision, and no key that the server would know of."""
    relation = f"({item.sql}\n) AS q"  # its last line may be a comment
    try:
        with client.undone_on_error():
            names = client.names(f"SELECT * FROM {relation} LIMIT 0")  # noqa: S608
    except TapError as e:
        raise type(e)(f"{e} ({item.shown})") from e
    if len(set(names)) < len(names):
        twice = ", ".join(sorted({n for n in names if names.count(n) > 1}))
        raise TapError(
            f"PostgreSQL {settings.where}: {item.shown}: columns that are there twice: {twice}; give them names with AS"
        )
    if missing := [k for k in item.key if k not in names]:
        raise TapError(
            f"PostgreSQL {settings.where}: {item.shown}: has no column {', '.join(missing)} to be the key; it has {', '.join(names)}"
        )
    typeof = ", ".join(f"pg_catalog.pg_typeof(q.{identifier(n)})::oid::int8" for n in names)
    oids = client.rows(f"SELECT {typeof} FROM (SELECT 1) AS one LEFT JOIN {relation} ON false")[0]  # noqa: S608
    found = {row[0]: row[1:] for row in client.rows(_TYPES.format(oids=", ".join(str(o) for o in set(oids))))}
    columns = []
    for name, oid in zip(names, oids, strict=True):
        base, category, modifier, shown = found[oid]
        columns.append(PgColumn(name, base, category, modifier, name in item.key, shown, None))
    return Described(item, tuple(columns), item.key, relation, is_table=False)


def tables(client: Client, schema: str) -> list[str]:
    """Tables, views, partitioned and foreign tables of a schema that the role may read; not those of extensions."""
    return [row[0] for row in client.rows(_TABLES.format(schema=literal(schema)))]


def has_index(client: Client, described: Described, column: str) -> bool:
    """Whether an index begins with a column."""
    query = _INDEXED.format(table=literal(described.relation), column=literal(column))
    return bool(client.rows(query)[0][0])
