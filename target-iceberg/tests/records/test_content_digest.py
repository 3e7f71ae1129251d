"""The content digest: the same for the same rows however they come, another one for any other rows."""

from __future__ import annotations

import datetime as dt
import decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_iceberg.records.content_digest import ContentDigest, RowHasher, parse


def field(name: str, t: pa.DataType, field_id: int) -> pa.Field:
    return pa.field(name, t, metadata={b"PARQUET:field_id": str(field_id).encode()})


ADDRESS = pa.struct([field("city", pa.string(), 21), field("number", pa.int64(), 22)])
SCHEMA = pa.schema(
    [
        field("id", pa.int64(), 1),
        field("name", pa.string(), 2),
        field("price", pa.decimal128(18, 2), 3),
        field("weight", pa.float64(), 4),
        field("paid", pa.bool_(), 5),
        field("at", pa.timestamp("us", "UTC"), 6),
        field("day", pa.date32(), 7),
        field("clock", pa.time64("us"), 8),
        field("code", pa.binary(4), 9),
        field("blob", pa.binary(), 10),
        field("address", ADDRESS, 11),
        field("tags", pa.list_(field("element", pa.string(), 31)), 12),
        field(
            "counts", pa.map_(field("key", pa.string(), 41).with_nullable(False), field("value", pa.int64(), 42)), 13
        ),
        field("orders", pa.list_(field("element", pa.struct([field("sku", pa.string(), 52)]), 51)), 14),
    ]
)
IDS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 21, 22, 31, 41, 42, 51, 52}


def row(k: int) -> dict[str, Any]:
    return {
        "id": k,
        "name": f"name {k % 5}",
        "price": decimal.Decimal(k) / 100 - 5,
        "weight": k / 3 if k % 4 else float("nan"),
        "paid": bool(k % 2),
        "at": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc) + dt.timedelta(seconds=k),
        "day": dt.date(2024, 1, 1) + dt.timedelta(k),
        "clock": dt.time(1, 2, k % 60),
        "code": bytes([k % 256]) * 4,
        "blob": b"x" * (k % 5),
        "address": {"city": None if k % 2 else f"city {k}", "number": k},
        "tags": [f"t{i}" if i % 2 else None for i in range(k % 4)],
        "counts": [(f"k{i}", i) for i in range(k % 3)],
        "orders": [{"sku": f"s{i}"} for i in range(k % 3)],
    }


ROWS = [row(k) for k in range(60)]


def digest(rows: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> ContentDigest:
    with RowHasher(IDS) as hasher:
        return hasher.digest(pa.RecordBatch.from_pylist(rows, schema=schema))


@given(st.permutations(range(60)), st.integers(0, 60))
def test_neither_order_nor_pieces_matter(order: list[int], cut: int) -> None:
    batch = pa.RecordBatch.from_pylist([ROWS[i] for i in order], schema=SCHEMA)
    with RowHasher(IDS) as hasher:
        first, second = hasher.digest(batch.slice(0, cut)), hasher.digest(batch.slice(cut))
    assert first + second == digest(ROWS)
    assert digest(ROWS) - second == first


@pytest.mark.parametrize("name", SCHEMA.names)
def test_one_value_that_changes_or_goes_changes_it(name: str) -> None:
    seen = {digest(ROWS)}
    for value in (ROWS[18][name], None):
        rows = [dict(r) for r in ROWS]
        rows[17][name] = value
        seen.add(digest(rows))
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("tags", [None, [], [None], ["a"], ["a", None], [None, "a"], ["a", "b"], ["b", "a"], ["ab"]]),
        ("counts", [None, [], [("a", 1)], [("a", None)], [("a", 2)], [("b", 1)], [("a", 1), ("b", 1)]]),
        ("address", [None, {"city": None, "number": None}, {"city": "1", "number": None}, {"city": None, "number": 1}]),
        ("orders", [None, [], [None], [{"sku": None}], [{"sku": "a"}, {"sku": "b"}], [{"sku": "b"}, {"sku": "a"}]]),
        ("name", [None, "", "0", "\0"]),
        ("weight", [None, 0.0, -0.0, 1.0, float("inf"), float("nan")]),
        ("price", [None, decimal.Decimal(0), decimal.Decimal("-0.01"), decimal.Decimal("0.01")]),
    ],
)
def test_values_that_look_alike_are_told_apart(name: str, values: list[Any]) -> None:
    schema = pa.schema([SCHEMA.field(name)])
    assert len({digest([{name: v}], schema) for v in values}) == len(values)


def test_rows_that_are_there_twice_count_twice() -> None:
    assert digest([ROWS[0], ROWS[0], ROWS[1]]) != digest([ROWS[0], ROWS[1], ROWS[1]])


def test_pairs_of_a_map_have_no_order() -> None:
    schema = pa.schema([SCHEMA.field("counts")])
    assert digest([{"counts": [("a", 1), ("b", 2)]}], schema) == digest([{"counts": [("b", 2), ("a", 1)]}], schema)


def test_storage_does_not_matter() -> None:
    def one(t: pa.DataType, value: Any) -> ContentDigest:
        return digest([{"c": value}] * 2, pa.schema([field("c", t, 1)]))

    assert one(pa.int32(), 7) == one(pa.int64(), 7)
    assert one(pa.float32(), 0.1) == one(pa.float64(), float(pa.scalar(0.1, pa.float32()).as_py()))
    assert one(pa.string(), "a") == one(pa.large_string(), "a") == one(pa.dictionary(pa.int8(), pa.string()), "a")
    assert one(pa.decimal128(5, 2), decimal.Decimal("1.20")) == one(pa.decimal128(9, 2), decimal.Decimal("1.20"))
    assert one(pa.binary(4), b"abcd") == one(pa.binary(), b"abcd")


def test_columns_that_are_null_or_unknown_do_not_count() -> None:
    narrow = pa.schema([SCHEMA.field("id"), SCHEMA.field("name")])
    wide = pa.schema([field("dropped", pa.string(), 99), *narrow, field("new", pa.string(), 2_000)])
    with RowHasher({*IDS, 2_000}) as hasher:
        got = hasher.digest(
            pa.RecordBatch.from_pylist([{"id": 1, "name": "a", "dropped": "x", "new": None}], schema=wide)
        )
    assert got == digest([{"id": 1, "name": "a"}], narrow)


def test_it_is_written_and_read_as_text() -> None:
    made = digest(ROWS)
    assert parse(str(made)) == made
    assert parse(str(ContentDigest())) == ContentDigest()
    assert parse("2:5:00") is None
    assert parse("nonsense") is None


def test_it_stays_what_it_is() -> None:
    """Receipts of years ago are compared with it: a change of the algorithm needs another VERSION."""
    assert str(digest(ROWS)) == "1:60:5d051ea6db15233399036ff1d724fcd7"
