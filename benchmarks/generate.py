"""Test data for the benchmarks, the same bytes each time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

if TYPE_CHECKING:
    from pathlib import Path

STEP = 100_000
CONTRACT = """\
apiVersion: v3.0.2
kind: DataContract
id: bench-orders
name: orders
version: "1.0.0"
status: active
domain: bench
schema:
  - {name: id, type: bigint, required: true}
  - {name: customer_id, type: integer, required: true}
  - {name: status, type: string}
  - {name: note, type: string}
  - {name: amount, type: "decimal(12,2)"}
  - {name: weight, type: double}
  - {name: paid, type: boolean}
  - {name: order_date, type: date}
  - {name: created_at, type: timestamp}
  - {name: coupon, type: string}
"""


def csv_file(path: Path, rows: int) -> None:
    """Write orders as CSV: 10 columns, about 120 bytes a row, a fifth of the coupons empty."""
    rng = np.random.default_rng(7)
    path.parent.mkdir(parents=True, exist_ok=True)
    words = np.array(["gift wrap", "leave at door", "call, before delivery", "fragile", "zweiter Versuch", "vip"])
    status = np.array(["new", "paid", "shipped", "cancelled", "refunded"])
    partial = path.with_suffix(".partial")
    with partial.open("wb") as f:
        for start in range(0, rows, STEP):
            n = min(STEP, rows - start)
            coupons = np.char.add("C", rng.integers(0, 99999, n).astype(str))
            moments = np.datetime64("2025-01-01T00:00:00", "us") + rng.integers(0, 3 * 10**13, n)
            table = pa.table(
                {
                    "id": pa.array(np.arange(start, start + n)),
                    "customer_id": rng.integers(0, 100_000, n),
                    "status": status[rng.integers(0, 5, n)],
                    "note": np.char.add(
                        words[rng.integers(0, 6, n)], np.char.add(" #", rng.integers(0, 10**6, n).astype(str))
                    ),
                    "amount": pa.array(rng.integers(100, 10**7, n)).cast(pa.decimal128(21, 2)).cast(pa.string()),
                    "weight": rng.random(n),
                    "paid": rng.random(n) > 0.5,
                    "order_date": pa.array(moments.astype("datetime64[D]")),
                    "created_at": pa.array(moments),
                    "coupon": pa.array(coupons, mask=rng.random(n) < 0.2),
                }
            )
            pacsv.write_csv(table, f, pacsv.WriteOptions(include_header=start == 0, quoting_style="needed"))
    partial.replace(path)
