"""Tables on their way to a target, in either lane."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stdout
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

import singer_arrow
from tap_kit import lanes
from tap_kit.errors import TapError
from tap_kit.lanes import Misfit, open_lane
from tap_kit.lines import LineWriter
from tap_kit.records import RecordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCHEMA = {"properties": {"id": {"type": ["integer", "null"]}}}


def table(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64())})


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Messages that a series of writes to a lane makes; batch files are replaced by their ids."""

    def run(arrow: bool, *tables: pa.Table, misfits: tuple[Misfit, ...] = ()) -> list[dict[str, Any]]:
        storage = {"encoding": {"format": "arrow"}, "storage": {"root": str(tmp_path)}}
        stdout = io.TextIOWrapper(io.BytesIO())
        with redirect_stdout(stdout):
            lines = LineWriter()
            with open_lane({"batch_config": storage} if arrow else {}, "orders", SCHEMA, lines) as lane:
                for rows in tables:
                    lane.write(rows, misfits)
        messages = [json.loads(line) for line in stdout.buffer.getvalue().splitlines()]  # type: ignore[attr-defined]
        for message in messages:
            for uri in message.get("manifest", ()):
                with singer_arrow.open_batch(uri) as reader:
                    message["ids"] = reader.read_all()["id"].to_pylist()
        return messages

    return run


def test_records_are_lines_of_type_stream_and_record(written: Any) -> None:
    assert written(False, table(1, 2)) == [
        {"type": "RECORD", "stream": "orders", "record": {"id": 1}},
        {"type": "RECORD", "stream": "orders", "record": {"id": 2}},
    ]


def test_small_tables_share_a_batch(written: Any) -> None:
    [batch] = written(True, table(1), table(), table(2, 3))
    assert (batch["type"], batch["stream"], batch["ids"]) == ("BATCH", "orders", [1, 2, 3])
    assert batch["encoding"] == {"format": "arrow", "compression": None}


@pytest.mark.parametrize(("limit", "value"), [("BATCH_ROWS", 2), ("BATCH_BYTES", 16)])
def test_batches_are_bounded_by_rows_and_bytes(
    written: Any, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(lanes, limit, value)
    assert [m["ids"] for m in written(True, table(1), table(2), table(3))] == [[1, 2], [3]]


def test_a_large_table_is_split(written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes, "BATCH_ROWS", 2)
    assert [m["ids"] for m in written(True, table(1, 2, 3, 4, 5))] == [[1, 2], [3, 4], [5]]


def test_rows_with_misfits_are_records_and_the_others_stay_in_their_lane(written: Any) -> None:
    misfits = (Misfit(1, {"id": "x"}),)
    record = {"type": "RECORD", "stream": "orders", "record": {"id": "x"}}
    rows = table(1, 0, 3)
    assert [m.get("ids", m) for m in written(True, rows, misfits=misfits)] == [record, [1, 3]]
    assert [m["record"]["id"] for m in written(False, rows, misfits=misfits)] == [1, 3, "x"]


def test_nothing_written_is_nothing_sent(written: Any) -> None:
    assert written(True) == written(False) == written(True, table()) == []


def test_the_files_that_messages_name_outlive_a_tap_that_says_why_it_fails(tmp_path: Path) -> None:
    storage = {"encoding": {"format": "arrow"}, "storage": {"root": str(tmp_path)}}

    def fail() -> None:
        with open_lane({"batch_config": storage}, "orders", SCHEMA, LineWriter()) as lane:
            lane.write(table(1))
            lane.flush()
            raise TapError("the server is gone")

    with pytest.raises(TapError):
        fail()
    assert len(list(tmp_path.iterdir())) == 1, "else the target would complain of a file, and not the tap of its server"


def test_a_failure_leaves_no_batch_files(tmp_path: Path) -> None:
    storage = {"encoding": {"format": "arrow"}, "storage": {"root": str(tmp_path)}}

    def fail() -> None:
        with open_lane({"batch_config": storage}, "orders", SCHEMA, LineWriter()) as lane:
            lane.write(table(1))
            lane.flush()
            assert list(tmp_path.iterdir())
            raise KeyError

    with redirect_stdout(io.TextIOWrapper(io.BytesIO())), pytest.raises(KeyError):
        fail()
    assert not list(tmp_path.iterdir())


def test_an_unknown_encoding_is_an_error_that_names_the_known_one() -> None:
    with pytest.raises(TapError, match="'parquet' is not supported; use 'arrow'"):
        lanes.arrow_root({"batch_config": {"encoding": {"format": "parquet"}}})


def test_values_travel_as_the_wire_says() -> None:
    moment = datetime(2024, 1, 2, 3, 4, 5, 60, tzinfo=timezone.utc)
    rows = pa.table(
        {
            "long": pa.array([2**63 - 1, None], pa.int64()),
            "double": pa.array([0.1, None]),
            "bool": pa.array([True, None]),
            "text": pa.array(['q"\u2028', None]),
            "date": pa.array([date(1, 1, 1), None]),
            "time": pa.array([time(1, 2, 3, 4), None], pa.time64("us")),
            "naive": pa.array([moment.replace(tzinfo=None), None], pa.timestamp("us")),
            "zoned": pa.array([moment, None], pa.timestamp("us", "UTC")),
            "decimal": pa.array([Decimal("12345678901234567890.10"), None], pa.decimal128(38, 2)),
            "number": pa.array([Decimal("0.10"), None], pa.decimal128(38, 2)),
            "list": pa.array([[1], None], pa.list_(pa.int64())),
        }
    )
    schema = {"properties": {name: {"type": ["string", "null"]} for name in rows.column_names}}
    schema["properties"]["number"] = {"type": ["number", "null"]}
    first, second = RecordEncoder("s", schema).encode(rows).splitlines()
    assert json.loads(first)["record"] == {
        "long": 2**63 - 1, "double": 0.1, "bool": True, "text": 'q"\u2028', "date": "0001-01-01",
        "time": "01:02:03.000004", "naive": "2024-01-02T03:04:05.000060", "zoned": "2024-01-02T03:04:05.000060Z",
        "decimal": "12345678901234567890.10", "number": 0.1, "list": [1],
    }  # fmt: skip
    assert b'"number":0.10,' in first
    assert set(json.loads(second)["record"].values()) == {None}


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("9223372036854775808", 2**63),
        ("1.5", 1.5),
        ("9.007199254740992e+15", 2.0**53),
        ("1e999", float("inf")),
        ("1.00000000000000000001", "1.00000000000000000001"),  # a double would make a whole number of it
        ("1e-400", "1e-400"),
        ("0x1F", "0x1F"),
        ("007x", "007x"),
    ],
)
def test_a_number_that_does_not_fit_stays_a_number(written: Any, text: str, sent: Any) -> None:
    """So that the target can say why."""
    (message,) = written(True, table(1), misfits=(Misfit(0, {"id": text}),))
    assert message["record"] == {"id": sent}
