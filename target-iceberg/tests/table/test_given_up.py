"""Files that nobody will publish."""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from target_iceberg.table.receipt import HashingStream

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_file_that_is_given_up_is_left_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer of Parquet that is thrown away writes its footer, and complains where it cannot."""
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    stream = HashingStream((tmp_path / "a.parquet").open("wb"))
    table = pa.table({"a": [1]})
    writer = pq.ParquetWriter(stream, table.schema)
    writer.write_table(table)
    stream.abandon()
    del writer
    gc.collect()
    assert stream.closed
    assert complaints == []
