"""Laws of decoding, for generated schemas and values, the odd ones included."""

from __future__ import annotations

import base64
import datetime as dt
import json
import uuid
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from target_iceberg.load_plan import Column, StreamPlan
from target_iceberg.records.columns import build
from target_iceberg.records.decode import Decoder
from target_iceberg.records.rejects import Budget
from target_iceberg.records.rows import RowPath
from target_iceberg.records.wire import Unreadable, WireReader
from target_iceberg.types import arrow_schema

SIMPLE = [
    "long",
    "int",
    "double",
    "float",
    "boolean",
    "string",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "binary",
]


def plan_of(*columns: Column) -> StreamPlan:
    return StreamPlan(stream="s", namespace=("n",), table="t", columns=columns, write_mode="append", fingerprint="x")


def text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# -- columns ---------------------------------------------------------------------------------------------------------


@st.composite
def decimal_words(draw: st.DrawFn) -> str:
    precision = draw(st.integers(1, 38))
    return f"decimal({precision},{draw(st.integers(0, precision))})"


def leaf(name: str) -> st.SearchStrategy[Column]:
    plain = st.sampled_from(SIMPLE).map(
        lambda t: Column(name=name, type=t, encoding="base64" if t == "binary" else None)
    )
    decimals = decimal_words().map(lambda t: Column(name=name, type=t))
    return st.one_of(plain, decimals, st.just(Column(name=name, type="string", encoding="json")))


def column(name: str, depth: int = 2) -> st.SearchStrategy[Column]:
    if depth == 0:
        return leaf(name)
    members = st.integers(1, 3).flatmap(lambda n: st.tuples(*(column(f"m{i}", depth - 1) for i in range(n))))
    return st.one_of(
        leaf(name),
        leaf(name),
        members.map(lambda m: Column(name=name, type="struct", fields=m)),
        column("element", depth - 1).map(lambda e: Column(name=name, type="list", fields=(e,))),
        column("value", depth - 1).map(
            lambda v: Column(name=name, type="map", fields=(Column(name="key", type="string", required=True), v))
        ),
    )


schemas = st.integers(1, 4).flatmap(lambda n: st.tuples(*(column(f"c{i}") for i in range(n))))

# -- values, as JSON text --------------------------------------------------------------------------------------------

integers = st.one_of(
    st.integers(-(2**64), 2**64),
    st.integers(-(2**31) - 2, 2**31 + 2),
    st.sampled_from([0, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**31 - 1, 2**31]),
).map(str)
numbers = st.one_of(
    integers,
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(allow_nan=False, allow_infinity=False, width=32).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.sampled_from(
        [
            "1.0",
            "1e2",
            "-0",
            "-0.0",
            "1.50",
            "1e400",
            "1e-400",
            "NaN",
            "Infinity",
            "-Infinity",
            "Inf",
            "-Inf",
            "-NaN",
            "1E+2",
            "3.4028235e38",
            "3.4028236e38",
            "1e39",
            "0.1",
            "123456789012345678901234567890.12",
            "9007199254740993.0",
            "1e999999999",
        ]
    ),
)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8).map(text)
offsets = st.sampled_from(
    ["", "Z", "z", "+00:00", "-00:00", "+0000", "+00", "+02:00", "-0530", "+14:00", "+23:59", "+24:00", "+02:60"]
)
fractions = st.sampled_from(["", ".5", ".123", ".123456", ".1234567", ".123456789", ".1234560", ".", ",5"])
clocks = st.builds(
    lambda t, s, f: t.strftime("%H:%M") + s + f, st.times(), st.sampled_from(["", ":00", ":59", ":60"]), fractions
)
days = st.one_of(
    st.dates().map(str),
    st.sampled_from(
        ["0000-01-01", "0001-01-01", "9999-12-31", "2023-02-29", "2024-02-29", "2024-13-01", "2024-1-1", "20240101"]
    ),
)
timestamps = st.builds(lambda d, sep, c, o: f"{d}{sep}{c}{o}", days, st.sampled_from(["T", " ", "t"]), clocks, offsets)
temporal = st.one_of(
    days,
    timestamps,
    clocks,
    st.builds(lambda c, o: c + o, clocks, offsets),
    st.sampled_from(["2020-01-01T10", "2020-01-01T10Z", "24:00:00", "2020-01-01T00:00:00"]),
)
uuids = st.one_of(
    st.uuids().map(str), st.uuids().map(lambda u: u.hex), st.uuids().map(lambda u: str(u).upper()), st.just("123")
)
base64s = st.one_of(
    st.binary(max_size=9).map(lambda b: base64.b64encode(b).decode()),
    st.sampled_from(["QQ", "QQ=", "Q=Q=", "====", "QUJD\n", "é"]),
)
strings = st.one_of(
    texts,
    temporal.map(text),
    uuids.map(text),
    base64s.map(text),
    numbers.map(text),
    st.sampled_from(['"\\u00e9"', '"\\ud83d\\ude00"', '"a\\u0000b"', '"NaN"']),
)
scalars = st.one_of(numbers, strings, st.sampled_from(["true", "false", "null", '"\\ud83d"']))
keys = st.sampled_from(["m0", "m1", "m2", "k", "é"])
objects = st.lists(st.tuples(keys, scalars), max_size=4)


def container(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    arrays = st.lists(inner, max_size=3).map(lambda v: "[" + ", ".join(v) + "]")
    members = st.lists(st.tuples(keys, inner), max_size=3).map(
        lambda kv: "{" + ",".join(f"{text(k)}: {v}" for k, v in kv) + "}"
    )
    return st.one_of(arrays, members)


anything = st.one_of(scalars, container(st.one_of(scalars, container(scalars))))


def fitting(c: Column) -> st.SearchStrategy[str]:
    """JSON text that is often, not always, a value of the column."""
    if c.encoding == "json":
        return anything
    if c.type == "struct":
        members = st.tuples(*(st.one_of(st.none(), fitting(m)) for m in c.fields))
        return members.map(
            lambda vs: (
                "{" + ",".join(f'"{m.name}":{v}' for m, v in zip(c.fields, vs, strict=True) if v is not None) + "}"
            )
        )
    if c.type == "list":
        return st.lists(fitting(c.fields[0]), max_size=3).map(lambda v: "[" + ",".join(v) + "]")
    if c.type == "map":
        return st.dictionaries(keys, fitting(c.fields[1]), max_size=3).map(
            lambda d: "{" + ",".join(f"{text(k)}:{v}" for k, v in d.items()) + "}"
        )
    if c.type in {"long", "int", "double", "float"} or c.type.startswith("decimal"):
        return st.one_of(numbers, numbers, st.just("null"))
    if c.type in {"date", "time", "timestamp", "timestamptz"}:
        return st.one_of(temporal.map(text), st.just("null"))
    special = {
        "uuid": uuids.map(text),
        "binary": base64s.map(text),
        "boolean": st.sampled_from(["true", "false", "null"]),
    }
    return special.get(c.type, strings)


def records(columns: tuple[Column, ...]) -> st.SearchStrategy[str]:
    """A record; now and then a value of another kind, a key twice, something that is no object."""
    fields = st.tuples(*(st.one_of(st.none(), fitting(c), fitting(c), fitting(c), anything) for c in columns))
    unknown = st.one_of(
        st.just(""),
        st.just(""),
        anything.map(lambda v: f'"unknown":{v}'),
        st.just('"u":1,"u":2'),
        st.just(f'"{columns[0].name}":null'),
    )

    def join(values: tuple[str | None, ...], extra: str) -> str:
        parts = [f'"{c.name}":{v}' for c, v in zip(columns, values, strict=True) if v is not None]
        return "{" + ",".join([*parts, *([extra] if extra else [])]) + "}"

    return st.one_of(
        st.builds(join, fields, unknown),
        st.builds(join, fields, st.just("")),
        st.sampled_from(["{}", "null", "[]", "1", "{", '{"a":}']),
    )


def lines_of(bodies: list[str]) -> list[bytes]:
    return [f'{{"type":"RECORD","stream":"s","record":{b}}}\n'.encode() for b in bodies]


cases = schemas.flatmap(lambda cs: st.tuples(st.just(cs), st.lists(records(cs), min_size=1, max_size=12).map(lines_of)))
run = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def by_row_path(columns: tuple[Column, ...], lines: list[bytes]) -> tuple[pa.Table, list[str]]:
    rows = RowPath("s", columns, Budget())
    good, rules = [], []
    for line in lines:
        got = rows.decode(line)
        if isinstance(got, tuple):
            good.append(got)
        else:
            rules.append(got[0].rule)
    arrays = [build([r[i] for r in good], c) for i, c in enumerate(columns)]
    return pa.table(arrays, schema=arrow_schema(columns)), rules


def values(table: pa.Table) -> str:
    return repr(table.to_pylist())


@run
@given(cases)
@example(((Column(name="c0", type="long"),), lines_of(['{"c0":9007199254740993}', '{"c0":1.0}'])))
@example(
    (
        (Column(name="c0", type="decimal(38,0)"),),
        lines_of(['{"c0":99999999999999999999999999999999999999}', '{"c0":1e38}', '{"c0":"1e2"}']),
    )
)
@example(((Column(name="c0", type="double"),), lines_of(['{"c0":Inf}', '{"c0":"x"}', '{"c0":-NaN}'])))
def test_the_fast_path_gives_what_the_row_path_gives(case: tuple[tuple[Column, ...], list[bytes]]) -> None:
    columns, lines = case
    decoded = Decoder(plan_of(*columns)).decode_records(b"".join(lines), len(lines))
    expected, rules = by_row_path(columns, lines)
    assert values(decoded.table) == values(expected)
    assert [r.rule for r in decoded.rejects] == rules
    assert decoded.table.num_rows + decoded.n_rejected == len(lines)
    assert decoded.table.schema == expected.schema
    decoded.table.validate(full=True)


@run
@given(cases)
def test_whatever_the_reader_takes_the_row_path_takes_with_the_same_value(
    case: tuple[tuple[Column, ...], list[bytes]],
) -> None:
    columns, lines = case
    wire = WireReader(columns)
    for line in lines:
        try:
            table, bad = wire.read(memoryview(line), 1)
        except Unreadable:
            continue
        if not bad:
            expected, rules = by_row_path(columns, [line])
            assert rules == []
            assert values(table) == values(expected)


@run
@given(cases, st.floats(0, 1))
def test_how_a_chunk_is_cut_does_not_change_what_comes_out(
    case: tuple[tuple[Column, ...], list[bytes]], share: float
) -> None:
    columns, lines = case
    once, again = Decoder(plan_of(*columns)), Decoder(plan_of(*columns))
    again._readers.pace.learn(1000, int(1000 * share))  # what many bad lines before would have taught it
    a, b = (d.decode_records(b"".join(lines), len(lines)) for d in (once, again))
    assert values(a.table) == values(b.table)
    assert a.counts == b.counts
    assert a.rejects == b.rejects


@run
@given(cases)
def test_decoded_rows_as_a_batch_are_the_same_rows(case: tuple[tuple[Column, ...], list[bytes]]) -> None:
    columns, lines = case
    table, _ = by_row_path(columns, lines)
    decoded = Decoder(plan_of(*columns)).decode_table(table)
    assert decoded.n_rejected == 0
    assert values(decoded.table) == values(table)


TEXTUAL = ["date", "time", "timestamp", "timestamptz", "uuid", "binary", "string", "decimal(12,3)", "decimal(38,9)"]


@run
@given(
    st.sampled_from(TEXTUAL),
    st.lists(st.one_of(st.none(), strings), min_size=1, max_size=80),
    st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]),
)
def test_text_in_a_batch_means_what_it_means_in_a_record(
    word: str, bodies: list[str | None], arrow: pa.DataType
) -> None:
    column_ = Column(name="c", type=word, encoding="base64" if word == "binary" else None)
    bodies = [b for b in bodies if b != '"\\ud83d"']
    assume(bodies)
    lines = lines_of([f'{{"c":{b or "null"}}}' for b in bodies])
    expected, rules = by_row_path((column_,), lines)
    table = pa.table({"c": pa.array([None if b is None else json.loads(b) for b in bodies], pa.string()).cast(arrow)})
    decoded = Decoder(plan_of(column_)).decode_table(table)
    assert values(decoded.table) == values(expected)
    assert decoded.n_rejected == len(rules)
    assert set(decoded.counts) == set(rules)


NUMERIC = ["long", "int", "double", "float", "decimal(10,2)", "decimal(38,0)", "decimal(38,37)"]
ARROW_NUMBERS = st.one_of(
    st.tuples(st.just(pa.int64()), st.lists(st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)), max_size=40)),
    st.tuples(st.just(pa.int32()), st.lists(st.one_of(st.none(), st.integers(-(2**31), 2**31 - 1)), max_size=40)),
    st.tuples(st.just(pa.uint64()), st.lists(st.one_of(st.none(), st.integers(0, 2**64 - 1)), max_size=40)),
    st.tuples(
        st.just(pa.decimal128(20, 5)),
        st.lists(st.one_of(st.none(), st.decimals(-(10**14), 10**14, places=5)), max_size=40),
    ),
    st.tuples(
        st.just(pa.float64()),
        st.lists(
            st.one_of(st.none(), st.floats(-(2.0**53), 2.0**53), st.integers(-(2**53), 2**53).map(float)), max_size=40
        ),
    ),
)


@run
@given(st.sampled_from(NUMERIC), ARROW_NUMBERS)
def test_numbers_in_a_batch_mean_what_they_mean_in_a_record(word: str, given_: tuple[pa.DataType, list[Any]]) -> None:
    arrow, items = given_
    column_ = Column(name="c", type=word)

    def written(value: Any) -> str:
        if value is None:
            return "null"
        if isinstance(value, float):
            return repr(value)
        return format(value, "f") if not isinstance(value, int) else str(value)

    expected, rules = by_row_path((column_,), lines_of([f'{{"c":{written(v)}}}' for v in items]))
    decoded = Decoder(plan_of(column_)).decode_table(pa.table({"c": pa.array(items, arrow)}))
    assert values(decoded.table) == values(expected)
    assert decoded.n_rejected == len(rules)


UTC = dt.timezone.utc


@pytest.mark.parametrize(
    ("array", "word", "expected"),
    [
        (
            pa.array([1_500], pa.timestamp("ns", "UTC")),
            "timestamptz",
            [dt.datetime(1970, 1, 1, 0, 0, 0, 1, tzinfo=UTC)],
        ),
        (pa.array([1], pa.timestamp("s")), "timestamptz", [dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)]),
        (pa.array([0], pa.timestamp("us", "Europe/Berlin")), "timestamptz", [dt.datetime(1970, 1, 1, tzinfo=UTC)]),
        (pa.array([0], pa.timestamp("us", "Europe/Berlin")), "timestamp", "reject"),
        (pa.array([0], pa.timestamp("us", "UTC")), "timestamp", [dt.datetime(1970, 1, 1)]),
        (pa.array([0], pa.timestamp("us")), "date", [dt.date(1970, 1, 1)]),
        (pa.array([1], pa.timestamp("us")), "date", "reject"),
        (pa.array([2**62], pa.timestamp("us", "UTC")), "timestamptz", "reject"),
        (pa.array([10**7], pa.date32()), "date", "reject"),
        (pa.array([1], pa.time32("s")), "time", [dt.time(0, 0, 1)]),
        (pa.array([b"0123456789abcdef"], pa.binary(16)), "uuid", [uuid.UUID(bytes=b"0123456789abcdef")]),
        (pa.array([1], pa.int64()), "string", "reject"),
        (pa.array(["1"]), "long", "reject"),
        (pa.array([1], pa.int64()), "boolean", "reject"),
        (pa.array([True]), "long", "reject"),
        (pa.array([1.5]), "long", "reject"),
        (pa.array([None], pa.null()), "date", [None]),
        (pa.array([b"\xff"]), "binary", [b"\xff"]),
        (pa.array([b"\xff"]).view(pa.string()), "string", "reject"),
        (pa.array([b"\xff"]).view(pa.string()), "timestamptz", "reject"),
        (pa.array([b"\xff"] * 50).view(pa.string()).slice(49), "string", "reject"),
        (pa.array(["x", "y"]).dictionary_encode().slice(1), "string", ["y"]),
        (pa.array([1e39]), "float", "reject"),
        (pa.array([float("inf")]), "float", [float("inf")]),
    ],
)
def test_arrow_types_of_a_batch_are_brought_to_the_columns(array: pa.Array, word: str, expected: Any) -> None:
    decoded = Decoder(plan_of(Column(name="c", type=word))).decode_table(pa.table({"c": array}))
    if expected == "reject":
        assert decoded.n_rejected == 1
        assert decoded.rejects[0].rule == "s.c.type"
    else:
        assert decoded.table["c"].to_pylist() == expected
