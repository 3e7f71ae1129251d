"""The physical floor of a CSV load: pyarrow.csv with explicit types to tuned Parquet, in one process, nothing checked."""

from __future__ import annotations

import sys

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("customer_id", pa.int64()),
        ("status", pa.string()),
        ("note", pa.string()),
        ("amount", pa.decimal128(12, 2)),
        ("weight", pa.float64()),
        ("paid", pa.bool_()),
        ("order_date", pa.date32()),
        ("created_at", pa.timestamp("us")),
        ("coupon", pa.string()),
    ]
)


def main(source: str, target: str) -> None:
    """Read `source`, write `target`."""
    convert = pacsv.ConvertOptions(
        column_types=dict(zip(SCHEMA.names, SCHEMA.types, strict=True)),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    reader = pacsv.open_csv(
        source, pacsv.ReadOptions(block_size=8 << 20), pacsv.ParseOptions(newlines_in_values=True), convert
    )
    delta = dict.fromkeys(("id", "customer_id", "order_date", "created_at"), "DELTA_BINARY_PACKED")
    with pq.ParquetWriter(
        target, SCHEMA, compression="zstd", compression_level=1, use_dictionary=["status"], column_encoding=delta
    ) as writer:
        for batch in reader:
            writer.write_batch(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
