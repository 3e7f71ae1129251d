"""CSV to Parquet by hand, in one process, nothing checked: pyarrow.csv with explicit types.

`plain` writes Parquet with PyArrow's defaults, as a script by hand would; `tuned` with the settings of target-iceberg
(zstd 1, dictionary on one column, delta encoding), which is the physical floor.
"""

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


DELTA = ("id", "customer_id", "order_date", "created_at")
TUNED = {
    "compression": "zstd",
    "compression_level": 1,
    "use_dictionary": ["status"],
    "column_encoding": dict.fromkeys(DELTA, "DELTA_BINARY_PACKED"),
}


def main(source: str, target: str, kind: str) -> None:
    """Read `source`, write `target`; kind: plain or tuned."""
    convert = pacsv.ConvertOptions(
        column_types=dict(zip(SCHEMA.names, SCHEMA.types, strict=True)),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    reader = pacsv.open_csv(
        source, pacsv.ReadOptions(block_size=8 << 20), pacsv.ParseOptions(newlines_in_values=True), convert
    )
    options = TUNED if kind == "tuned" else {}
    with pq.ParquetWriter(target, SCHEMA, **options) as writer:
        for batch in reader:
            writer.write_batch(batch)


if __name__ == "__main__":
    main(*sys.argv[1:])
