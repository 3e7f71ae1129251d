"""What RECORD lines cost at the least: framing by numpy, Arrow's JSON reader, the ten checks, tuned Parquet; no table.

Usage: floor_records.py MESSAGES OUT.parquet
"""

from __future__ import annotations

import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

CHUNK = 8 << 20
SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("customer_id", pa.string()), ("email", pa.string()), ("amount", pa.decimal128(18, 2)),
        ("weight", pa.float64()), ("status", pa.string()), ("order_date", pa.string()),
        ("created_at", pa.timestamp("us", "UTC")), ("is_paid", pa.bool_()),
        ("address", pa.struct([("city", pa.string()), ("country", pa.string())])), ("note", pa.string()),
    ]
)  # fmt: skip
OPTIONS = pj.ParseOptions(
    explicit_schema=pa.schema([("record", pa.struct(list(SCHEMA)))]), unexpected_field_behavior="ignore"
)
STATUSES = pa.array(["new", "paid", "shipped", "cancelled"])
HEAD = np.frombuffer(b'{"type":"RECORD","stream":"orders","record":', np.uint8)
DATE = r"\A\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])\z"


def parse(chunk: bytes) -> pa.Table:
    """One chunk of lines, checked."""
    read = pj.read_json(
        pa.BufferReader(chunk),
        parse_options=OPTIONS,
        read_options=pj.ReadOptions(use_threads=False, block_size=len(chunk) + 1),
    )
    record = read["record"].combine_chunks()
    t = pa.table([record.field(i) for i in range(len(SCHEMA))], schema=SCHEMA)
    ok = pc.is_valid(t["id"])
    for test in (
        pc.is_valid(t["customer_id"]),
        pc.is_valid(t["email"]),
        pc.is_in(t["status"], value_set=STATUSES),
        pc.match_substring_regex(t["email"], "@"),
        pc.greater_equal(t["amount"], pa.scalar(0, pa.decimal128(18, 2))),
        pc.less_equal(t["amount"], pa.scalar(10**9, pa.decimal128(18, 2))),
        pc.less_equal(pc.utf8_length(t["customer_id"]), 32),
        pc.match_substring_regex(t["order_date"], DATE),
    ):
        ok = pc.and_(ok, pc.fill_null(test, True))
    return t if pc.all(ok).as_py() else t.filter(ok)


def record_lines(block: bytes) -> list[memoryview]:
    """Runs of RECORD lines in a block of whole lines."""
    data = np.frombuffer(block + bytes(len(HEAD)), np.uint8)
    ends = np.flatnonzero(data[: len(block)] == 10) + 1
    starts = np.concatenate(([0], ends[:-1]))
    is_record = (data[starts[:, None] + np.arange(len(HEAD))] == HEAD).all(axis=1)
    view, found, low = memoryview(block), [], 0
    for i in np.flatnonzero(~is_record).tolist():
        if starts[i] > low:
            found.append(view[low : starts[i]])
        low = int(ends[i])
    if low < len(block):
        found.append(view[low:])
    return found


def main() -> None:
    """Read a file and write another."""
    writer = pq.ParquetWriter(
        sys.argv[2], SCHEMA, compression="zstd", compression_level=1,
        use_dictionary=["customer_id", "email", "status", "order_date", "address.city", "address.country", "note"],
        column_encoding={"id": "DELTA_BINARY_PACKED", "created_at": "DELTA_BINARY_PACKED"},
    )  # fmt: skip
    ready: queue.Queue = queue.Queue(3)
    ids: list[np.ndarray] = []

    def stage() -> None:
        while (future := ready.get()) is not None:
            table = future.result()
            ids.append(table["id"].combine_chunks().to_numpy())
            writer.write_table(table)

    thread = threading.Thread(target=stage)
    thread.start()
    with ThreadPoolExecutor(2) as pool, Path(sys.argv[1]).open("rb", buffering=0) as source:
        waiting, size, rest = [], 0, b""
        while block := source.read(4 << 20):
            block = rest + block
            cut = block.rfind(b"\n") + 1
            rest, block = block[cut:], block[:cut]
            for run in record_lines(block):
                waiting.append(run)
                size += len(run)
            if size >= CHUNK:
                ready.put(pool.submit(parse, b"".join(waiting)))
                waiting, size = [], 0
        if waiting:
            ready.put(pool.submit(parse, b"".join(waiting)))
        ready.put(None)
        thread.join()
    writer.close()
    every = np.sort(np.concatenate(ids))
    if (every[1:] == every[:-1]).any():
        sys.exit("an id twice")


if __name__ == "__main__":
    main()
