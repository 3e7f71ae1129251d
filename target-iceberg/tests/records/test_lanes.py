"""The same rows by any way in give the same table: RECORD, RECORD line by line, and BATCH of Arrow, Parquet and JSON lines."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from target_iceberg.load_plan import Column, StreamPlan
from target_iceberg.records.columns import build, coerce
from target_iceberg.records.decode import Decoder
from target_iceberg.records.rejects import Budget
from target_iceberg.records.rows import RowPath
from target_iceberg.records.scalars import compact_json
from target_iceberg.singer.batches import as_records
from target_iceberg.types import arrow_schema, arrow_type

UTC = dt.timezone.utc
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=8)
TYPES: dict[str, tuple[Column, st.SearchStrategy[Any]]] = {
    "long": (Column(name="c", type="long"), st.integers(-(2**63), 2**63 - 1)),
    "int": (Column(name="c", type="int"), st.integers(-(2**31), 2**31 - 1)),
    "double": (Column(name="c", type="double"), st.floats(allow_nan=False, allow_infinity=False)),
    "decimal": (Column(name="c", type="decimal(38,9)"), st.decimals(-(10**28), 10**28, places=9)),
    "boolean": (Column(name="c", type="boolean"), st.booleans()),
    "string": (Column(name="c", type="string"), TEXT),
    "date": (Column(name="c", type="date"), st.dates()),
    "time": (Column(name="c", type="time"), st.times()),
    "timestamp": (Column(name="c", type="timestamp"), st.datetimes()),
    "timestamptz": (
        Column(name="c", type="timestamptz"),
        st.datetimes(dt.datetime(2, 1, 1), dt.datetime(9998, 1, 1), timezones=st.just(UTC)),
    ),
    "uuid": (Column(name="c", type="uuid"), st.uuids()),
}


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[Column, ...], list[dict[str, Any]]]:
    """A schema, nested ones included, and rows of it."""
    columns, values = [], {}
    for i in range(draw(st.integers(1, 5))):
        column, value = TYPES[draw(st.sampled_from(sorted(TYPES)))]
        shape = draw(st.sampled_from(["plain", "plain", "list", "struct"]))
        name = draw(st.sampled_from([f"c{i}", f"C {i}", f"ü{i}.x", f'q"{i}']))
        value = st.none() | value
        if shape == "list":
            element = Column(name="element", type=column.type)
            column, value = Column(name=name, type="list", fields=(element,)), st.none() | st.lists(value, max_size=3)
        elif shape == "struct":
            member = Column(name="m", type=column.type)
            column, value = (
                Column(name=name, type="struct", fields=(member,)),
                st.none() | st.fixed_dictionaries({"m": value}),
            )
        else:
            column = Column(name=name, type=column.type)
        columns.append(column)
        values[name] = value
    return tuple(columns), draw(st.lists(st.fixed_dictionaries(values), min_size=1, max_size=12))


def as_json(value: Any) -> Any:
    """A value as a tap writes it."""
    if isinstance(value, dict):
        return {k: as_json(v) for k, v in value.items()}
    if isinstance(value, list):
        return [as_json(v) for v in value]
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    return str(value) if isinstance(value, (Decimal, uuid.UUID)) else value


def natural(columns: tuple[Column, ...], rows: list[dict[str, Any]]) -> pa.Table:
    """The rows as an Arrow batch of a tap has them; uuids as text."""
    arrays = []
    for c in columns:
        t = arrow_type(c)
        texts = [as_json(r[c.name]) if "uuid" in str(t) else r[c.name] for r in rows]
        arrays.append(pa.array(texts, _without_uuid(t)))
    return pa.table(arrays, names=[c.name for c in columns])


def _without_uuid(t: pa.DataType) -> pa.DataType:
    if isinstance(t, pa.BaseExtensionType):
        return pa.string()
    if pa.types.is_list(t):
        return pa.list_(_without_uuid(t.value_type))
    return pa.struct([(f.name, _without_uuid(f.type)) for f in t]) if pa.types.is_struct(t) else t


@settings(max_examples=150)
@given(tables())
def test_every_lane_gives_the_same_table(case: tuple[tuple[Column, ...], list[dict[str, Any]]]) -> None:
    columns, rows = case
    plan = StreamPlan(stream="s", namespace=("n",), table="t", columns=columns, write_mode="append", fingerprint="f")
    lines = [json.dumps(as_json(r), ensure_ascii=False).encode() for r in rows]
    messages = [b'{"type":"RECORD","stream":"s","record":' + line + b"}\n" for line in lines]
    by_record = Decoder(plan).decode_records(b"".join(messages), len(rows))
    assert by_record.n_rejected == 0, by_record.rejects
    slow = [RowPath("s", columns, Budget(10)).decode(m) for m in messages]
    assert all(isinstance(v, tuple) for v in slow), slow
    one_by_one = pa.table([build([v[i] for v in slow], c) for i, c in enumerate(columns)], schema=arrow_schema(columns))
    wrapped, n = as_records(b"\n".join(lines) + b"\n")
    batch = natural(columns, rows)
    file = io.BytesIO()
    pq.write_table(batch, file)
    file.seek(0)
    lanes = {
        "row path": one_by_one,
        "JSON lines": Decoder(plan).decode_records(wrapped, n).table,
        "Arrow": Decoder(plan).decode_table(batch).table,
        "Parquet": Decoder(plan).decode_table(pq.read_table(file)).table,
    }
    for lane, table in lanes.items():
        assert table.combine_chunks().equals(by_record.table.combine_chunks()), (
            lane,
            table.to_pylist(),
            by_record.table.to_pylist(),
        )


def test_json_that_repeats_is_compacted_like_json_that_does_not() -> None:
    column = Column(name="j", type="string", encoding="json")
    few = ['{"a": 1, "b": [1, 2]}', None, '"x  y"', "[ ]"] * 1000
    many = [f'{{"a": {i}}}' for i in range(4000)]
    for texts in (few, many):
        got = coerce(pa.array(texts), column)
        assert not got.bad
        assert got.array.to_pylist() == [None if t is None else compact_json(t) for t in texts]
    got = coerce(pa.array([*few, "no json"]), column)
    assert list(got.bad) == [4000]
    assert got.array[0].as_py() == '{"a":1,"b":[1,2]}'


def test_a_decimal_of_the_right_type_with_too_many_digits_does_not_fit() -> None:
    wide = pa.array([Decimal("99.99"), Decimal("100.00"), None, Decimal("-12345678.90")], pa.decimal128(38, 2))
    narrow = pa.Array.from_buffers(pa.decimal128(4, 2), len(wide), wide.buffers())  # the type promises, nobody checks
    got = coerce(narrow, Column(name="d", type="decimal(4,2)"))
    assert got.array.to_pylist() == [Decimal("99.99"), None, None, None]
    assert sorted(got.bad) == [1, 3]
