"""Values that are lost or changed on the way when nobody looks, with what must arrive: by type, at the edges of each.

The documentation's table of types is made from this one.
"""

from __future__ import annotations

import json
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

from tap_kit.testing import Case, Odd

NAN, INFINITY = float("nan"), float("inf")


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=timezone.utc)  # type: ignore[misc]


def embedded(value: Any) -> str:
    return json.dumps(value)


CASES = (
    Case("small", "smallint", "long", (("-32768", -32768), ("32767", 32767))),
    Case("int", "integer", "long", (("-2147483648", -(2**31)), ("2147483647", 2**31 - 1))),
    Case("big", "bigint", "long", (("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1))),
    Case("oid", "oid", "long", (("4294967295", 2**32 - 1),)),
    Case(
        "amount",
        "numeric(12,2)",
        "decimal(12,2)",
        (("-0.01", Decimal("-0.01")), ("9999999999.99", Decimal("9999999999.99")), ("'NaN'", Odd("NaN"))),
    ),
    Case(
        "free",
        "numeric",
        "decimal(38,9)",
        (
            ("123.4500", Decimal("123.450000000")),
            ("1e-9", Decimal("1e-9")),
            ("0.1234567891", Odd("0.1234567891")),
            ("12345678901234567890123456789.123456789", Decimal("12345678901234567890123456789.123456789")),
            ("'Infinity'", Odd("Infinity")),
            ("'-Infinity'", Odd("-Infinity")),
            ("'NaN'", Odd("NaN")),
        ),
    ),
    Case("negative_scale", "numeric(3,-2)", "decimal(5,0)", (("12345", Decimal(12300)),)),
    Case("small_scale", "numeric(2,4)", "decimal(4,4)", (("0.0012", Decimal("0.0012")),)),
    Case(
        "huge",
        "numeric(50,10)",
        "string",
        (("1234567890123456789012345678901234567890.5", "1234567890123456789012345678901234567890.5000000000"),),
    ),
    Case("real", "real", "double", (("0.1", 0.10000000149011612), ("'-Infinity'", -INFINITY), ("'NaN'", NAN))),
    Case(
        "double",
        "double precision",
        "double",
        (
            ("0.1", 0.1),
            ("1.7976931348623157e308", 1.7976931348623157e308),
            ("5e-324", 5e-324),
            ("'Infinity'", INFINITY),
            ("'NaN'", NAN),
        ),
    ),
    Case(
        "money",
        "money",
        "decimal(19,2)",
        (("-92233720368547758.08", Decimal("-92233720368547758.08")), ("1234.5", Decimal("1234.50"))),
    ),
    Case("yes", "boolean", "boolean", (("true", True), ("false", False))),
    Case(
        "text",
        "text",
        "string",
        (
            ("''", ""),
            ("E'\"quoted\", it''s\\ttab\\nline\\r\\nback\\\\slash'", '"quoted", it\'s\ttab\nline\r\nback\\slash'),
            ("E'\\\\N'", "\\N"),
            ("E'\\\\000\\\\x00'", "\\000\\x00"),
            ("'NULL'", "NULL"),
            ("U&'\\+01F680 é'", "\U0001f680 é"),
        ),
    ),
    Case("varying", "varchar(5)", "string", (("'ab   '", "ab   "),)),
    Case("padded", "char(5)", "string", (("'ab'", "ab   "),)),
    Case("bytes", "bytea", "binary", (("'\\x00ff5c0a'", b"\x00\xff\\\n"), ("''", b""))),
    Case(
        "day",
        "date",
        "date",
        (
            ("'0001-01-01'", date(1, 1, 1)),
            ("'9999-12-31'", date(9999, 12, 31)),
            ("'2024-02-29'", date(2024, 2, 29)),
            ("'infinity'", Odd("infinity")),
            ("'-infinity'", Odd("-infinity")),
            ("'0044-03-15 BC'", Odd("0044-03-15 BC")),
            ("'10000-01-01'", Odd("10000-01-01")),
        ),
    ),
    Case(
        "clock",
        "time",
        "time",
        (("'00:00'", time(0)), ("'23:59:59.999999'", time(23, 59, 59, 999999)), ("'24:00'", Odd("24:00:00"))),
    ),
    Case("zoned_clock", "timetz", "string", (("'12:00:00.5+05:30'", "12:00:00.5+05:30"),)),
    Case(
        "moment",
        "timestamp",
        "timestamp",
        (
            ("'0001-01-01'", datetime(1, 1, 1)),
            ("'9999-12-31 23:59:59.999999'", datetime(9999, 12, 31, 23, 59, 59, 999999)),
            ("'infinity'", Odd("infinity")),
            ("'0044-03-15 10:00 BC'", Odd("0044-03-15 10:00:00 BC")),
            ("'294276-12-31 23:59:59.999999'", Odd("294276-12-31 23:59:59.999999")),
        ),
    ),
    Case(
        "instant",
        "timestamptz",
        "timestamptz",
        (
            ("'2020-01-01 00:00+05:30'", utc(2019, 12, 31, 18, 30)),
            ("'2024-03-31 02:30 Europe/Berlin'", utc(2024, 3, 31, 1, 30)),
            ("'0001-01-01 00:00+00'", utc(1, 1, 1)),
            ("'infinity'", Odd("infinity")),
            ("'-infinity'", Odd("-infinity")),
            ("'10000-01-01 00:00+00'", Odd("10000-01-01 00:00:00+00")),
        ),
    ),
    Case(
        "span", "interval", "string", (("'1 year 2 mons -3 days 04:05:06.789'", "P1Y2M-3DT4H5M6.789S"), ("'0'", "PT0S"))
    ),
    Case("id", "uuid", "uuid", (("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),)),
    Case(
        "json",
        "json",
        "json",
        (
            ('\'{"b": 1.10, "a": [null, "x\\ny"], "b": 2}\'', '{"b": 1.10, "a": [null, "x\\ny"], "b": 2}'),
            ("'\"text\"'", '"text"'),
            ("'12345678901234567890'", "12345678901234567890"),
        ),
    ),
    Case("jsonb", "jsonb", "json", (('\'{"b": 1.10, "a": {}}\'', '{"a": {}, "b": 1.10}'), ("'[]'", "[]"))),
    Case(
        "ints",
        "integer[]",
        "json",
        (
            ("'{1,NULL,3}'", "[1,null,3]"),
            ("'{}'", "[]"),
            ("'{{1,2},{3,4}}'", "[[1,2],[3,4]]"),
            ("'[0:1]={5,6}'", '"[0:1]={5,6}"'),
        ),
    ),
    Case(
        "texts",
        "text[]",
        "json",
        (("ARRAY['a', 'b,\"c\"', '', NULL]", embedded(["a", 'b,"c"', "", None]).replace(", ", ",")),),
    ),
    Case("mood", "mood", "string", (("'so so'", "so so"),)),
    Case("percent", "percent", "decimal(5,2)", (("12.5", Decimal("12.50")),)),
    Case("point2", "spot", "json", (("ROW(1, 'a\"b')", '{"x":1,"label":"a\\"b"}'),)),
    Case("span_of_ints", "int4range", "string", (("'[1,5)'", "[1,5)"), ("'empty'", "empty"))),
    Case("spans", "nummultirange", "string", (("'{[1.5,2],[3,)}'", "{[1.5,2],[3,)}"),)),
    Case("address", "inet", "string", (("'10.0.0.1/8'", "10.0.0.1/8"), ("'::1'", "::1"))),
    Case("net", "cidr", "string", (("'10.0.0.0/8'", "10.0.0.0/8"),)),
    Case("mac", "macaddr", "string", (("'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),)),
    Case("bits", "bit(3)", "string", (("B'101'", "101"),)),
    Case("more_bits", "bit varying", "string", (("B''", ""), ("B'0101'", "0101"))),
    Case("pairs", "hstore", "string", (("'a=>1, \"b c\"=>NULL'", '"a"=>"1", "b c"=>NULL'),)),
    Case("words", "tsvector", "string", (("'fat cat:2A'::tsvector", "'cat':2A 'fat'"),)),
    Case("markup", "xml", "string", (("'<a b=\"c\">é</a>'", '<a b="c">é</a>'),)),
    Case("place", "point", "string", (("'(1.5,-2)'", "(1.5,-2)"),)),
    Case("label", "name", "string", (("'pg'", "pg"),)),
    Case("doubled", "integer GENERATED ALWAYS AS (1 + 1) STORED", "long", (("DEFAULT", 2),)),
    Case("counted", "integer GENERATED BY DEFAULT AS IDENTITY", "long", (("7", 7),)),
    Case('Odd "name", é.x', "text", "string", (("'v'", "v"),)),
    Case("nothing", "text", "string", (("NULL", None),)),
)
TYPES = (
    "CREATE EXTENSION hstore",
    "CREATE TYPE mood AS ENUM ('so so', 'good')",
    "CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE >= 0)",
    "CREATE TYPE spot AS (x integer, label text)",
)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def statements(table: str) -> list[str]:
    """DDL and rows: a row for each value of the column that has most, others NULL beyond theirs."""
    made = [
        *TYPES,
        f"CREATE TABLE {table} (row_id integer PRIMARY KEY, {', '.join(f'{quoted(c.name)} {c.type}' for c in CASES)})",
    ]
    for i in range(max(len(c.values) for c in CASES)):
        there = [c for c in CASES if i < len(c.values)]
        names = ", ".join(["row_id", *(quoted(c.name) for c in there)])
        values = ", ".join([str(i), *(c.values[i][0] for c in there)])
        made.append(f"INSERT INTO {table} ({names}) VALUES ({values})")
    return made


def expected(i: int) -> dict[str, Any]:
    """What arrives of a row."""
    absent = {"doubled": 2, "counted": i}
    return {"row_id": i, **{c.name: c.values[i][1] if i < len(c.values) else absent.get(c.name) for c in CASES}}
