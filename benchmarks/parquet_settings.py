"""CPU and bytes of Parquet: settings decided from the first rows, beside pyarrow's own.

Usage: parquet_settings.py ROWS
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any

import generate_records
import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from target_iceberg.table.parquet_options import writer_options
from target_iceberg.types import arrow_schema

REPEATS = 5


def cost(tables: list[pa.Table], **options: Any) -> tuple[float, int]:
    """(CPU seconds, bytes) of writing row groups; the least of several times."""
    best, size = float("inf"), 0
    for _ in range(REPEATS):
        out = io.BytesIO()
        start = time.process_time()
        with pq.ParquetWriter(out, tables[0].schema, **options) as writer:
            for table in tables:
                writer.write_table(table)
        best, size = min(best, time.process_time() - start), out.tell()
    return best, size


def main() -> None:
    """Print both."""
    rows, tables = min(int(sys.argv[1]), 500_000), []
    schema = arrow_schema(generate_records.COLUMNS)
    wire = pa.schema([pa.field(f.name, pa.decimal128(18, 2)) if f.name == "amount" else f for f in schema])
    parts: list[pa.Table] = []
    for part in generate_records.records(rows):
        data = pa.BufferReader(b"\n".join(part))
        parts.append(pj.read_json(data, parse_options=pj.ParseOptions(explicit_schema=wire)))
        if len(parts) == 12:
            tables.append(pa.concat_tables(parts))
            parts = []
    if parts:
        tables.append(pa.concat_tables(parts))
    ours, our_size = cost(tables, store_decimal_as_integer=True, **writer_options(tables[0]))
    theirs, their_size = cost(tables, compression="zstd")
    snappy, snappy_size = cost(tables)
    for name, cpu, size in (("ours", ours, our_size), ("zstd", theirs, their_size), ("snappy", snappy, snappy_size)):
        print(f"  Parquet of {rows:,} rows, {name:8s} cpu {cpu:.2f} s, {size / 1e6:.1f} MB")
    print(
        f"  ours takes {100 * (1 - ours / theirs):.0f} % less CPU than pyarrow's defaults with zstd (wanted: >= 25 %), "
        f"{100 * (1 - ours / snappy):.0f} % less than its defaults"
    )


if __name__ == "__main__":
    main()
