"""A table of a database to an Iceberg table by hand, in one process, nothing checked: the physical floor.

    floor_database.py postgres|mysql URI TABLE DIRECTORY

ADBC or connectorx, types that travel as text cast in Arrow, Parquet with the settings of target-iceberg, one commit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("customer_id", pa.int32()),
        ("status", pa.string()),
        ("note", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("weight", pa.float64()),
        ("paid", pa.bool_()),
        ("order_date", pa.date32()),
        ("created_at", pa.timestamp("us")),
        ("updated_at", pa.timestamp("us", "UTC")),
        ("ref", pa.string()),
        ("attrs", pa.string()),
        ("coupon", pa.string()),
    ]
)
DELTA = ("id", "customer_id", "order_date", "created_at", "updated_at")
TUNED = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["status", "coupon"],
    "column_encoding": dict.fromkeys(DELTA, "DELTA_BINARY_PACKED"),
}
TEXTS = {
    "postgres": {name: f"{name}::text" for name in ("amount", "ref", "attrs")},
    "mysql": {"amount": "cast(amount as char)"},
}
ROWS = 131_072


def postgres(uri: str, query: str) -> Iterator[pa.RecordBatch]:
    """Batches from ADBC."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(uri) as connection, connection.cursor() as cursor:
        cursor.execute("SET timezone = 'UTC'")
        cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": 16 << 20})
        cursor.execute(query)
        yield from cursor.fetch_record_batch()


def mysql(uri: str, query: str) -> Iterator[pa.RecordBatch]:
    """Batches from connectorx."""
    import connectorx

    yield from connectorx.read_sql(uri, query, return_type="arrow_stream", batch_size=65_536)


def tables(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Row groups of a common size, with the types of the table."""
    waiting: list[pa.RecordBatch] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        if rows >= ROWS:
            yield typed(waiting)
            waiting, rows = [], 0
    if waiting:
        yield typed(waiting)


def typed(batches: list[pa.RecordBatch]) -> pa.Table:
    """Cast what came as text."""
    table = pa.Table.from_batches(batches)
    columns = []
    for i, field in enumerate(SCHEMA):
        column = table.column(i)
        if pa.types.is_boolean(field.type) and not pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        columns.append(column if column.type == field.type else column.cast(field.type))
    return pa.table(columns, schema=SCHEMA)


def main(kind: str, uri: str, table: str, directory: str) -> None:
    """Read, write, commit."""
    columns = ", ".join(f"{TEXTS[kind].get(name, name)} AS {name}" for name in SCHEMA.names)
    source = {"postgres": postgres, "mysql": mysql}[kind](uri, f"SELECT {columns} FROM {table}")
    file = Path(directory) / "orders.parquet"
    with pq.ParquetWriter(file, SCHEMA, **TUNED) as writer:
        for part in tables(source):
            writer.write_table(part)
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog(
        "floor", type="sql", uri=f"sqlite:///{directory}/catalog.db", warehouse=f"file://{directory}"
    )
    catalog.create_namespace("floor")
    catalog.create_table("floor.orders", SCHEMA).add_files([f"file://{file}"])


if __name__ == "__main__":
    main(*sys.argv[1:])
