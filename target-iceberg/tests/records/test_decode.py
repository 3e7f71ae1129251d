"""What single records become: examples that the laws do not spell out."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest

from target_iceberg.load_plan import Column, StreamPlan
from target_iceberg.records.decode import Decoded, Decoder
from target_iceberg.records.hazards import endangers_decimals
from target_iceberg.records.rejects import Budget
from target_iceberg.records.rows import RowPath
from target_iceberg.singer.framing import MALFORMED

UTC = dt.timezone.utc


def plan(*columns: Column) -> StreamPlan:
    return StreamPlan(stream="s", namespace=("n",), table="t", columns=columns, write_mode="append", fingerprint="x")


def decode(columns: tuple[Column, ...], *bodies: str | bytes, **settings: Any) -> Decoded:
    texts = [b if isinstance(b, bytes) else b.encode() for b in bodies]
    chunk = b"".join(b'{"type":"RECORD","stream":"s","record":' + t + b"}\n" for t in texts)
    return Decoder(plan(*columns), **settings).decode_records(chunk, len(bodies))


def one(type_: str, value: str) -> Any:
    """The value of a column of a type, or the reject's message."""
    encoding: Any = "base64" if type_ == "binary" else "json" if type_ == "json" else None
    column = Column(name="c", type="string" if type_ == "json" else type_, encoding=encoding)
    got = decode((column,), f'{{"c":{value}}}')
    if got.n_rejected:
        assert got.rejects[0].rule == "s.c.type"
        return got.rejects[0].message
    return got.table["c"][0].as_py()


TAKEN = [
    ("long", "1.0", 1),
    ("long", "1e3", 1000),
    ("long", "-9223372036854775808", -(2**63)),
    ("int", "2147483647", 2**31 - 1),
    ("double", "1", 1.0),
    ("double", '"Infinity"', float("inf")),
    ("double", "-Infinity", float("-inf")),
    ("double", "9007199254740993", 9007199254740992.0),
    ("float", "3.4028235e38", 3.4028234663852886e38),
    ("decimal(38,2)", "123456789012345678901234567890123456.78", Decimal("123456789012345678901234567890123456.78")),
    ("decimal(38,2)", '"123456789012345678901234567890123456.78"', Decimal("123456789012345678901234567890123456.78")),
    ("decimal(4,2)", "1.5000", Decimal("1.50")),
    ("decimal(4,2)", "1e1", Decimal("10.00")),
    ("boolean", "true", True),
    ("string", '"\\u0000\\ud83d\\ude00"', "\0😀"),
    ("date", '"2024-02-29"', dt.date(2024, 2, 29)),
    ("date", '"2024-02-29T00:00:00Z"', dt.date(2024, 2, 29)),
    ("time", '"10:11"', dt.time(10, 11)),
    ("time", '"10:11:12.123456789Z"', dt.time(10, 11, 12, 123456)),
    ("timestamptz", '"2024-01-01T00:00:00+02:00"', dt.datetime(2023, 12, 31, 22, tzinfo=UTC)),
    ("timestamptz", '"2024-01-01 00:00:00.123456789"', dt.datetime(2024, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)),
    ("timestamptz", '"2024-01-01t00:00:00z"', dt.datetime(2024, 1, 1, tzinfo=UTC)),
    ("timestamp", '"2024-01-01T00:00:00"', dt.datetime(2024, 1, 1)),
    ("timestamp", '"2024-01-01T00:00:00+00:00"', dt.datetime(2024, 1, 1)),
    ("uuid", '"12345678-1234-1234-1234-1234567890AB"', UUID("12345678-1234-1234-1234-1234567890ab")),
    ("uuid", '"123456781234123412341234567890ab"', UUID("12345678-1234-1234-1234-1234567890ab")),
    ("binary", '"AP8="', b"\0\xff"),
    (
        "json",
        ' { "a" : [1.50, 1e5, 12345678901234567890123] , "b": "\\u00e9" } ',
        '{"a":[1.50,1e5,12345678901234567890123],"b":"\\u00e9"}',
    ),
    ("json", '"text"', '"text"'),
    ("json", "null", None),
]
REFUSED = [
    ("long", '"1"', "expected a whole number, got text"),
    ("long", "true", "expected a whole number, got true or false"),
    ("long", "1.5", "expected a whole number, got a fraction"),
    ("long", "9223372036854775808", "beyond 64 bits"),
    ("long", "1e300", "must be written with all its digits"),
    ("decimal(3,1)", "123", "more than 2 digits before the point"),
    ("decimal(3,1)", '"123"', "more than 2 digits before the point"),
    ("decimal(38,37)", "35", "more than 1 digits before the point"),
    ("long", "1" * 5000, "beyond 64 bits"),
    ("long", "NaN", "expected a whole number"),
    ("int", "2147483648", "beyond 32 bits"),
    ("double", '"1"', "expected a number, got text"),
    ("double", "1e400", "beyond the range of a double"),
    ("float", "1e39", "beyond the range of a single precision number"),
    ("decimal(4,2)", "1.234", "more than 2 digits after the point"),
    ("decimal(4,2)", "1e-9999999", "more than 2 digits after the point"),
    ("decimal(4,2)", "100", "more than 2 digits before the point"),
    ("decimal(4,2)", "1e9999999", "more than 2 digits before the point"),
    ("decimal(4,2)", '"1_0"', "not a decimal number"),
    ("decimal(4,2)", '"NaN"', "not a decimal number"),
    ("decimal(4,2)", "true", "expected a decimal number, got true or false"),
    ("boolean", "1", "expected true or false, got a number"),
    ("boolean", '"true"', "expected true or false, got text"),
    ("string", "1", "expected text, got a number"),
    ("string", "{}", "expected text, got an object"),
    ("string", '"\\ud83d"', "half of a surrogate pair"),
    ("date", '"2023-02-29"', "no such day"),
    ("date", '"2024-01-01T00:00:01Z"', "cannot keep a time of day"),
    ("date", "19723", "expected a date"),
    ("time", '"24:00:00"', "no such time of day"),
    ("time", '"10:00:00+01:00"', "cannot keep an offset"),
    ("timestamptz", "1704067200", "expected a timestamp"),
    ("timestamptz", '"0000-01-01T00:00:00Z"', "no such day"),
    ("timestamptz", '"0001-01-01T00:00:00+01:00"', "outside the years 1 to 9999"),
    ("timestamp", '"2024-01-01T00:00:00+01:00"', "cannot keep an offset"),
    ("uuid", '"1234"', "not a UUID"),
    ("binary", '"Q"', "not base64"),
    ("json", "NaN", "not JSON"),
]


@pytest.mark.parametrize(("type_", "value", "expected"), TAKEN)
def test_a_value_is_taken_as_what_it_means(type_: str, value: str, expected: Any) -> None:
    assert one(type_, value) == expected


@pytest.mark.parametrize(("type_", "value", "message"), REFUSED)
def test_a_value_of_another_type_is_refused_and_never_becomes_null(type_: str, value: str, message: str) -> None:
    assert message in one(type_, value)


LONG, TEXT = Column(name="id", type="long"), Column(name="name", type="string", classification="PII")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"id":1,"id":2}', "key twice: id"),
        (b'{"id":1,"name":"\xff"}', "not UTF-8"),
        (b'{"id":', "not JSON"),
        (b'{"id":1', "not JSON"),
        (b"null", "not an object"),
        (b"[]", "not an object"),
        (b'{"id":1},"record":{"id":2}', "two records"),
        (b'{"id":1}} {"record":{"id":2}', "more than one value"),
        (b'{"id":1,}', "not JSON"),
        (b'{"id":"a\x01b"}', "not JSON"),
        (b'{"id":01}', "not JSON"),
    ],
)
def test_a_malformed_line_is_rejected_alone(body: bytes, message: str) -> None:
    got = decode((LONG,), '{"id":1}', body, '{"id":3}')
    assert got.table.to_pylist() == [{"id": 1}, {"id": 3}]
    assert [(r.rule, r.column, r.kind) for r in got.rejects] == [("s.record.json", None, "json")]
    assert message in got.rejects[0].message
    assert got.columns == {"s.record.json": (None, "json")}


def test_lines_that_complete_each_other_are_still_malformed() -> None:
    bodies = [
        b'{"type":"RECORD","stream":"s","record":\n',
        b'{"type":"RECORD","stream":"s","record":{"id":1}}}\n',
        b'{"record":{"id":2}} {"record":{"id":3}}\n',
    ]
    got = Decoder(plan(LONG)).decode_records(MALFORMED + b"".join(bodies), 3)
    assert (got.table.num_rows, got.n_rejected, dict(got.counts)) == (0, 3, {"s.record.json": 3})


def test_nesting_without_end_is_rejected_where_it_is_wanted_and_skipped_where_it_is_not() -> None:
    deep = "[" * 200_000 + "]" * 200_000
    lists = Column(name="l", type="list", fields=(Column(name="element", type="long"),))
    text = Column(name="j", type="string", encoding="json")
    got = decode(
        (LONG, lists, text),
        f'{{"id":1,"l":{deep}}}',
        f'{{"id":2,"j":{deep}}}',
        f'{{"id":3,"other":{deep}}}',
        f'{{"id":"x","other":{deep}}}',
    )
    assert [r["id"] for r in got.table.to_pylist()] == [3]
    assert [r.rule for r in got.rejects] == ["s.l.type", "s.j.type", "s.id.type"]


def test_a_line_with_two_wrong_values_is_one_reject_that_counts_under_both_rules() -> None:
    got = decode((LONG, Column(name="b", type="boolean")), '{"id":"x","b":"y"}')
    assert (got.n_rejected, len(got.rejects), dict(got.counts)) == (1, 1, {"s.id.type": 1, "s.b.type": 1})
    assert got.columns == {"s.id.type": ("id", "type"), "s.b.type": ("b", "type")}


def test_rejects_hide_classified_values_in_record_message_and_value() -> None:
    member = Column(name="o", type="struct", fields=(Column(name="secret", type="long", classification="PII"),))
    got = decode(
        (LONG, TEXT, member),
        '{"id":"x","name":"hidden","o":{"secret":"hidden"}}',
        '{"id":1,"name":["hidden"]}',
        b'{"id":1,"name":"hidden\xff"}',
        '{"id":1, "name":"hidden"',
    )
    assert got.n_rejected == 4
    assert "hidden" not in repr(got.rejects)
    assert got.rejects[0].record == '{"id":"x","name":"***","o":"***"}'
    assert got.rejects[0].value == '"x"'
    assert got.rejects[1].value == "***"
    assert json.loads(got.rejects[2].record) == "***"


def test_rejects_show_the_text_as_it_came_cut_where_it_is_long() -> None:
    got = decode((LONG,), '{ "id" : "' + "x" * 5000 + '", "z": 1.50 }')
    assert got.rejects[0].record.startswith('{ "id" : "xxx')
    assert got.rejects[0].record.endswith('"z": 1.50 }')
    assert got.rejects[0].value is not None
    assert len(got.rejects[0].value) == 1024


def test_rejects_say_which_file_and_record_they_come_from() -> None:
    got = decode(
        (LONG,),
        '{"id":"x","_sdc_source_file":"a.csv","_sdc_source_lineno":17}',
        '{"id":"x","_sdc_source_file":7,"_sdc_source_lineno":"b"}',
    )
    assert [(r.source_file, r.source_record) for r in got.rejects] == [("a.csv", 17), (None, None)]


def test_rejects_are_listed_up_to_the_maximum_and_counted_beyond() -> None:
    got = decode((LONG,), *['{"id":"x"}'] * 20, max_listed=3)
    assert (len(got.rejects), got.n_rejected, got.counts["s.id.type"]) == (3, 20, 20)


def test_fields_outside_the_plan_are_counted_by_what_the_schema_announces() -> None:
    decoder = Decoder(plan(LONG))
    assert decoder.announce({"properties": {"id": {}, "extra": {}, "more": {}}}) == ("extra", "more")
    got = decoder.decode_records(b'{"record":{"id":1,"extra":2}}\n{"record":{"id":2}}\n', 2)
    assert got.fields_dropped == {"extra": 2, "more": 2}


def test_a_batch_drops_and_counts_columns_outside_the_plan_and_fills_missing_ones_with_null() -> None:
    got = Decoder(plan(LONG, TEXT)).decode_table(pa.table({"extra": [1, 2], "id": pa.array([1, 2], pa.int32())}))
    assert got.table.to_pylist() == [{"id": 1, "name": None}, {"id": 2, "name": None}]
    assert got.fields_dropped == {"extra": 2}


def test_bad_rows_of_a_batch_are_named_with_their_values_hidden() -> None:
    table = pa.table(
        {"id": ["1", None], "name": ["hidden", "x"], "_sdc_source_file": ["f", "f"], "_sdc_source_lineno": [2, 3]}
    )
    got = Decoder(plan(LONG, TEXT)).decode_table(table)
    (reject,) = got.rejects
    assert (reject.rule, reject.value, reject.message) == ("s.id.type", '"1"', "expected a whole number, got text")
    assert reject.record == '{"id":"1","name":"***","_sdc_source_file":"f","_sdc_source_lineno":2}'
    assert (reject.source_file, reject.source_record) == ("f", 2)
    assert got.table.to_pylist() == [{"id": None, "name": "x"}]


def test_nested_values_of_a_batch_are_cast_by_name_and_refused_by_row() -> None:
    columns = (
        Column(name="o", type="struct", fields=(Column(name="a", type="date"), Column(name="b", type="long"))),
        Column(name="l", type="list", fields=(Column(name="element", type="long"),)),
        Column(name="m", type="map", fields=(Column(name="key", type="string"), Column(name="value", type="date"))),
    )
    table = pa.table({
        "o": [{"b": 1, "x": 0, "a": "2024-01-01"}, {"b": 2, "x": 0, "a": "soon"}, None, {"b": 3, "x": 0, "a": None}],
        "l": [[1.0], [2.0], [None, 4.5], None],
        "m": pa.array([[("k", "2024-01-01")], None, None, [("k", "x")]], pa.map_(pa.string(), pa.string())),
    })  # fmt: skip
    got = Decoder(plan(*columns)).decode_table(table)
    assert got.table.to_pylist() == [
        {"o": {"a": dt.date(2024, 1, 1), "b": 1}, "l": [1], "m": [("k", dt.date(2024, 1, 1))]}
    ]
    assert [(r.column, r.message) for r in got.rejects] == [
        ("o", "a: not a date (YYYY-MM-DD)"),
        ("l", "element: expected a whole number, got a fraction"),
        ("m", "value: not a date (YYYY-MM-DD)"),
    ]
    again = Decoder(plan(*columns)).decode_table(table.slice(3, 1))
    assert again.n_rejected == 1


def test_json_text_in_a_batch_is_checked_and_other_values_are_written_as_json() -> None:
    column = Column(name="j", type="string", encoding="json")
    got = Decoder(plan(column)).decode_table(pa.table({"j": ['{"a": 1}', "no json", None]}))
    assert got.table["j"].to_pylist() == ['{"a":1}', None]
    assert got.rejects[0].message == "not JSON"
    nested = Decoder(plan(column)).decode_table(pa.table({"j": [{"a": [Decimal("1.50")], "é": None}]}))
    assert nested.table["j"].to_pylist() == ['{"a":[1.50],"é":null}']


def test_a_thousand_rows_with_a_few_bad_ones_keep_their_order() -> None:
    bodies = [f'{{"id":{i if i % 97 else json.dumps(str(i))}}}' for i in range(1000)]
    decoder = Decoder(plan(LONG))
    chunk = b"".join(b'{"type":"RECORD","stream":"s","record":' + b.encode() + b"}\n" for b in bodies)
    for _ in range(3):
        got = decoder.decode_records(chunk, 1000)
        assert got.table["id"].to_pylist() == [i for i in range(1000) if i % 97]
        assert got.n_rejected == 11
    assert decoder._readers.pace.failure_rate == pytest.approx(11 / 1000, rel=0.1)


def test_bad_lines_that_stop_coming_are_forgotten() -> None:
    decoder = Decoder(plan(LONG))
    decoder.decode_records(b'{"record":{"id":"x"}}\n' * 10, 10)
    for _ in range(200):
        decoder.decode_records(b'{"record":{"id":1}}\n', 1)
    assert decoder._readers.pace.failure_rate == 0


def test_a_record_of_ten_megabytes_is_decoded() -> None:
    got = decode((TEXT,), json.dumps({"name": "x" * (10 << 20)}))
    assert len(got.table["name"][0].as_py()) == 10 << 20


def test_the_row_path_alone_reads_envelopes_of_any_order_and_spacing() -> None:
    rows = RowPath("s", (LONG,), Budget())
    assert rows.decode(
        b' { "time_extracted" : "x", "record" : { "id" : 7 , "id2": {} } , "type":"RECORD","stream":"s" } \r\n'
    ) == (7,)


def test_no_rows_give_an_empty_table_of_the_plan() -> None:
    columns = (LONG, Column(name="l", type="list", fields=(Column(name="element", type="uuid"),)))
    got = Decoder(plan(*columns)).decode_records(b"", 0)
    assert (got.table.num_rows, got.table.column_names) == (0, ["id", "l"])


PLACES = [
    "1e-77",
    "1e-9999999",
    '"1e-9999999"',
    '"1\\u0065-9999999"',
    "0." + "0" * 80 + "1",
    '"0.\\u0030' + "0" * 80 + '1"',
    "12e-78",
    "1E-77",
    "1e-077",
]


@pytest.mark.parametrize("value", PLACES)
@pytest.mark.parametrize("type_", ["decimal(4,2)", "decimal(38,0)", "decimal(38,38)"])
def test_decimals_of_very_many_places_are_refused_and_do_not_reach_arrow(type_: str, value: str) -> None:
    decimals, doubles = Column(name="d", type=type_), Column(name="x", type="double")
    number = value if value.startswith(("1", "0")) else "1"
    got = decode(
        (decimals, doubles),
        f'{{"d":{value}}}',
        f'{{"d":0.5,"x":{number}}}' if type_ != "decimal(38,0)" else '{"d":1}',
        f'{{"x":{number}}}',
    )
    assert [r.rule for r in got.rejects] == ["s.d.type"]
    assert got.table.num_rows == 2
    text = json.loads(value) if value.startswith('"') else value
    batch = Decoder(plan(decimals)).decode_table(pa.table({"d": [text] * 40}))
    assert batch.n_rejected == 40


@pytest.mark.parametrize(
    ("type_", "array"),
    [
        ("decimal(38,37)", pa.array([35.0])),
        ("decimal(38,37)", pa.array([35])),
        ("decimal(38,37)", pa.array([Decimal(35)])),
        ("decimal(38,37)", pa.array(["35"])),
        ("decimal(3,1)", pa.array(["123"])),
        ("decimal(3,1)", pa.array([Decimal("123.0")], pa.decimal128(38, 30))),
        ("decimal(3,1)", pa.array([Decimal("1e70")], pa.decimal256(76, 0))),
        ("decimal(38,38)", pa.array([1])),
        ("long", pa.array([Decimal(9223372036854775808)])),
        ("long", pa.array([Decimal("1e70")], pa.decimal256(76, 0))),
        ("int", pa.array([Decimal(2147483648)])),
        ("time", pa.array([86_400_000_000]).view(pa.time64("us"))),
        ("time", pa.array([-1]).view(pa.time64("us"))),
    ],
)
def test_numbers_that_overflow_when_they_are_rescaled_are_refused(type_: str, array: pa.Array) -> None:
    got = Decoder(plan(Column(name="c", type=type_))).decode_table(pa.table({"c": array}))
    assert (got.table.num_rows, got.n_rejected) == (0, 1)


@pytest.mark.parametrize("value", PLACES)
@pytest.mark.parametrize("before", range(9))
def test_numbers_of_very_many_places_are_recognised_wherever_they_stand(value: str, before: int) -> None:
    assert endangers_decimals(b"x" * before + value.encode() + b"}")
    assert endangers_decimals(b"x" * (262_144 - before) + value.encode() + b"}\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "e",
        "e-",
        "1e-05",
        "1e-7",
        "1.5e-19",
        "gift e-mail",
        "caf\\u00e9",
        "a" * 300_000,
        "100000000000000000000",
        "0.0000000001",
        "x-0e-",
    ],
)
def test_ordinary_text_is_not_taken_for_such_numbers(text: str) -> None:
    for before in range(3):
        assert not endangers_decimals(b"-" * before + text.encode())


def test_names_that_json_escapes_are_columns_like_others() -> None:
    names = ['quote"s', "back\\slash", "tab\there"]
    columns = (
        *(Column(name=n, type="string") for n in names),
        Column(name='json"s', type="string", encoding="json"),
        Column(name="n", type="long"),
    )
    plan_ = StreamPlan(stream="s", namespace=("n",), table="t", columns=columns, write_mode="append", fingerprint="x")
    good = {**{n: n for n in names}, 'json"s': {"a": 1}, "n": 1}
    lines = [good, {**good, "n": "one"}, {"n": 2}]
    data = b"".join(json.dumps({"type": "RECORD", "stream": "s", "record": r}).encode() + b"\n" for r in lines)
    decoder = Decoder(plan_)
    for _ in range(2):  # the second time all lines are sieved, because one was bad
        found = decoder.decode_records(data, 3)
        assert found.table.to_pylist() == [{**good, 'json"s': '{"a":1}'}, {**dict.fromkeys(good), "n": 2}]
        assert found.n_rejected == 1
