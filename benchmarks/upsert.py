"""Upsert of 20,000 keys spread evenly over a table: what the publish costs, keys looked up and deletes written included.

Usage: upsert.py DIRECTORY ROWS FILES
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from target_iceberg.load_plan import Column, LakeCatalog, StreamPlan
from target_iceberg.table.lake_catalog import open_catalog
from target_iceberg.table.publisher import StreamPublish, publish_table
from target_iceberg.table.stage import Lakehouse, open_stage
from target_iceberg.table.writer import DataFileWriter

PLAN = StreamPlan(
    stream="orders", namespace=("bench",), table="orders", key=("id",), write_mode="upsert", fingerprint="f",
    columns=(Column(name="id", type="long", required=True), Column(name="status", type="string"), Column(name="note", type="string")),
)  # fmt: skip
KEYS = 20_000


def publish(lake: Lakehouse, parts: list[np.ndarray], run: str) -> None:
    """Rows with these ids, one file for each part."""
    stage = open_stage(lake, PLAN)
    files = []
    for ids in parts:
        writer = DataFileWriter(stage.table, stage.schema, stage.spec, 1 << 40, run)
        for start in range(0, len(ids), 100_000):
            some = ids[start : start + 100_000]
            writer.write(
                pa.table(
                    {
                        "id": some,
                        "status": pa.repeat("new", len(some)),
                        "note": pa.array(some * 7919 % 1_000_003).cast(pa.string()),
                    }
                )
            )
        files += writer.close()
    publish_table(lake, [StreamPublish(stage, files, {"bookmark": run})], run, run)


def main() -> None:
    """Make the table, then time the upsert in a process that has not made it."""
    directory, rows, files = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    settings = LakeCatalog(kind="embedded", path=str(directory))
    catalog = open_catalog(settings)
    assert catalog is not None
    lake = Lakehouse(catalog, settings, "t", "j")
    if len(sys.argv) == 4:
        publish(lake, np.array_split(np.arange(rows), files), "base")
        import subprocess

        subprocess.run([sys.executable, *sys.argv, "time"], check=True)
        return
    publish(lake, [np.arange(0, rows, rows // 10)], "warm")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    publish(lake, [np.arange(0, rows, rows // KEYS)], "timed")
    wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{KEYS:,} keys over {rows:,} rows in {files} files: {wall:.2f} s, peak {peak:.0f} MB (before: {before:.0f} MB)"
    )


if __name__ == "__main__":
    main()
