"""What any bytes on the pipe may do to framing and decoding: be told apart, be refused with a reason, and nothing else."""

from __future__ import annotations

from typing import Any

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import Column, StreamPlan
from target_iceberg.records.decode import Decoder
from target_iceberg.singer import messages
from target_iceberg.singer.framing import Framer, Span

COLUMNS = (
    Column(name="id", type="long"),
    Column(name="i", type="int"),
    Column(name="x", type="double"),
    Column(name="d", type="decimal(20,4)"),
    Column(name="ok", type="boolean"),
    Column(name="s", type="string"),
    Column(name="day", type="date"),
    Column(name="at", type="timestamptz"),
    Column(name="local", type="timestamptz", naive="Europe/Berlin"),
    Column(name="clock", type="time"),
    Column(name="ref", type="uuid"),
    Column(name="bin", type="binary", encoding="base64"),
    Column(name="free", type="string", encoding="json"),
    Column(name="tags", type="list", fields=(Column(name="element", type="string"),)),
    Column(name="o", type="struct", fields=(Column(name="a", type="long"), Column(name="b", type="string"))),
    Column(name='odd"name', type="string"),
)
SEEDS = (
    b'{"type":"SCHEMA","stream":"s","schema":{"properties":{"id":{"type":"integer"}}},"key_properties":["id"]}\n',
    b'{"type":"RECORD","stream":"s","record":{"id":1,"x":1.5,"d":"1.5000","ok":true,"s":"\xc3\xa9","day":"2026-01-01"}}\n',
    b'{"type":"RECORD","stream":"s","record":{"at":"2026-01-01T00:00:00+01:00","local":"2026-03-29T02:30:00","free":{"a":[1]}}}\n',
    b'{"stream": "s", "type": "RECORD", "record": {"tags": ["a", null], "o": {"a": 1, "b": "x"}, "bin": "AAEC"}}\n',
    b'{"record":{"id":9223372036854775808,"i":2147483648},"stream":"s","type":"RECORD","time_extracted":"2026-01-01T00:00:00Z"}\n',
    b'{"type":"STATE","value":{"bookmarks":{"s":1}}}\n{"type":"UNKNOWN"}\n{"type":"RECORD","stream":"t","record":{}}\n',
    b'{"type":"RECORD","stream":"s","record":{"s":"' + b"[" * 200 + b'"}}\n' + b"[" * 3000 + b"\n",
    b'{"type":"RECORD","stream":"s","record":{"id":1e999,"x":NaN,"d":1' + b"0" * 400 + b"}}\n\xff\xfe\n\n",
)


class Harness:
    """Decoders that live as long as a run."""

    def __init__(self) -> None:
        plan = StreamPlan(
            stream="s",
            namespace=("n",),
            table="t",
            columns=COLUMNS,
            write_mode="append",
            fingerprint="f",
            record_metadata=True,
        )
        self._decoder = Decoder(plan, max_listed=10)

    def feed(self, data: bytes, block: int) -> tuple[int, int]:
        """Read bytes in blocks of a size; returns (records, rejected).

        Raises:
            TargetError: the input is no Singer stream.
            AssertionError: rows were lost or made.
        """
        framer, records, rejected = Framer(1 << 20), 0, 0
        for start in [*range(0, len(data), block), None]:
            items = framer.close() if start is None else framer.feed(data[start : start + block])
            for item in items:
                if isinstance(item, Span):
                    rows, bad = self._decode(bytes(item.data), item.n_rows)
                    records, rejected = records + rows, rejected + bad
                else:
                    self._message(item)
        return records, rejected

    def _decode(self, data: bytes, n_rows: int) -> tuple[int, int]:
        found = self._decoder.decode_records(data, n_rows)
        assert found.table.num_rows + found.n_rejected == n_rows
        found.table.validate(full=True)
        return n_rows, found.n_rejected

    def _message(self, line: Any) -> None:
        message = messages.parse(line.data, line.number)
        if isinstance(message, messages.Record):
            raw = line.data if line.data.endswith(b"\n") else line.data + b"\n"
            self._decode(raw, 1)


def survives(harness: Harness, data: bytes, block: int) -> bool:
    """Whether the bytes were a Singer stream; anything but a refusal with a reason is a failure."""
    try:
        harness.feed(data, block)
    except TargetError:
        return False
    return True
