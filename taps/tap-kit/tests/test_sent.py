"""Keys that were sent are known again, and hold no more in memory than themselves."""

from __future__ import annotations

import pyarrow as pa

from tap_kit.database.sent import SentKeys


def imported(start: int, n: int) -> pa.RecordBatch:
    """A batch as drivers hand them over: all of its columns live as long as one of them."""
    made = pa.record_batch({"id": pa.array(range(start, start + n)), "text": pa.array(["x" * 1000] * n)})
    reader = pa.RecordBatchReader.from_stream(pa.RecordBatchReader.from_batches(made.schema, [made]))
    return reader.read_next_batch()


def test_rows_that_come_again_are_left_out() -> None:
    sent = SentKeys(has_key=True)
    for start in (0, 100):
        batch = imported(start, 100)
        rows, _ = sent.new(pa.table(batch), [], [batch.column(0)])
        assert rows.num_rows == 100
    sent.ask_again()
    batch = imported(150, 100)
    rows, _ = sent.new(pa.table(batch), [], [batch.column(0)])
    assert rows["id"].to_pylist() == list(range(200, 250))


def test_a_key_does_not_keep_its_whole_batch() -> None:
    sent = SentKeys(has_key=True)
    pa.default_memory_pool().release_unused()
    before = pa.total_allocated_bytes()
    for start in range(0, 100_000, 1000):
        batch = imported(start, 1000)
        sent.new(pa.table(batch), [], [batch.column(0)])
        del batch
    assert pa.total_allocated_bytes() - before < 5_000_000, "100,000 keys of 8 bytes, and not the 100 MB beside them"
    sent.clear()
