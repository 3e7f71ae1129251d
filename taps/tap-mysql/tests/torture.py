"""Values that are lost or changed on the way when nobody looks, with what must arrive: by type, at the edges of each.

The documentation's table of types is made from this one.
"""

from __future__ import annotations

from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

from tap_kit.testing import Case, Odd

DIGITS = "12345678901234567890123456789012345.123456789012345678901234567890"
POINT = bytes.fromhex("0101000000000000000000f03f0000000000000040")


CASES = (
    Case("tiny", "tinyint(1)", "long", (("5", 5), ("-128", -128))),
    Case("small", "smallint unsigned", "long", (("65535", 65535),)),
    Case("medium", "mediumint", "long", (("-8388608", -8388608),)),
    Case("whole", "int unsigned", "long", (("4294967295", 2**32 - 1),)),
    Case("big", "bigint", "long", (("-9223372036854775808", -(2**63)), ("9223372036854775807", 2**63 - 1))),
    Case("ubig", "bigint unsigned", "decimal(20,0)", (("18446744073709551615", Decimal(2**64 - 1)), ("0", Decimal(0)))),
    Case(
        "amount",
        "decimal(12,2)",
        "decimal(12,2)",
        (("-0.01", Decimal("-0.01")), ("9999999999.99", Decimal("9999999999.99"))),
    ),
    Case(
        "large",
        "decimal(38,10)",
        "decimal(38,10)",
        (("1234567890123456789012345678.0123456789", Decimal("1234567890123456789012345678.0123456789")),),
    ),
    Case("huge", "decimal(65,30)", "string", ((DIGITS, DIGITS),)),
    Case("single", "float", "double", (("0.1", 0.10000000149011612), ("-3.4e38", -3.3999999521443642e38))),
    Case(
        "twice",
        "double",
        "double",
        (("0.1", 0.1), ("1e-308", 1e-308), ("1.7976931348623157e308", 1.7976931348623157e308)),
    ),
    Case("bit1", "bit(1)", "boolean", (("b'1'", True), ("b'0'", False))),
    Case("bit8", "bit(8)", "long", (("b'11000001'", 193),)),
    Case("bit64", "bit(64)", "decimal(20,0)", (("b'" + "1" * 64 + "'", Decimal(2**64 - 1)),)),
    Case("annus", "year", "long", (("2024", 2024), ("0", 0), ("1901", 1901))),
    Case(
        "words",
        "text character set utf8mb4",
        "string",
        (
            ("''", ""),
            (r"""'"quoted", it\'s\ttab\nline\r\nback\\slash'""", '"quoted", it\'s\ttab\nline\r\nback\\slash'),
            (r"'\\N'", "\\N"),
            ("'NULL'", "NULL"),
            ("'\U0001f680 é'", "\U0001f680 é"),
        ),
    ),
    Case("latin", "varchar(9) character set latin1", "string", (("'é€'", "é€"),)),
    Case("padded", "char(5)", "string", (("'ab'", "ab"),)),
    Case("chosen", "enum('x','y')", "string", (("'y'", "y"), ("''", ""))),
    Case("several", "set('a','b')", "string", (("'a,b'", "a,b"), ("''", ""))),
    Case("bytes", "varbinary(9)", "binary", (("x'00FF5C0A'", b"\x00\xff\\\n"), ("''", b""))),
    Case("fixed", "binary(4)", "binary", (("x'FF00'", b"\xff\x00\x00\x00"),)),
    Case("blob_", "blob", "binary", (("x'FF'", b"\xff"),)),
    Case(
        "day",
        "date",
        "date",
        (
            ("'0001-01-01'", date(1, 1, 1)),
            ("'9999-12-31'", date(9999, 12, 31)),
            ("'2024-02-29'", date(2024, 2, 29)),
            ("'0000-00-00'", Odd("0000-00-00")),
            ("'2024-00-10'", Odd("2024-00-10")),
            ("'2024-05-00'", Odd("2024-05-00")),
            ("'2023-02-31'", Odd("2023-02-31")),
        ),
    ),
    Case(
        "clock",
        "time(6)",
        "time",
        (
            ("'00:00:00'", time(0)),
            ("'23:59:59.999999'", time(23, 59, 59, 999999)),
            ("'-838:59:59'", Odd("-838:59:59.000000")),
            ("'838:59:59'", Odd("838:59:59.000000")),
            ("'24:00:00'", Odd("24:00:00.000000")),
        ),
    ),
    Case(
        "moment",
        "datetime(6)",
        "timestamp",
        (
            ("'2020-01-01 00:00:00.123456'", datetime(2020, 1, 1, 0, 0, 0, 123456)),
            ("'0001-01-01'", datetime(1, 1, 1)),
            ("'9999-12-31 23:59:59.999999'", datetime(9999, 12, 31, 23, 59, 59, 999999)),
            ("'0000-00-00'", Odd("0000-00-00 00:00:00.000000")),
            ("'2024-00-10 01:02:03'", Odd("2024-00-10 01:02:03.000000")),
        ),
    ),
    Case(
        "instant",
        "timestamp(6) NULL",
        "timestamptz",
        (
            ("'2020-01-01 00:00:00.123456'", datetime(2020, 1, 1, 3, 30, 0, 123456, timezone.utc)),
            ("0", Odd("0000-00-00 00:00:00.000000")),
        ),
    ),
    Case("js", "json", "json", (('\'{"b": 1.10, "a": [null]}\'', '{"b": 1.10, "a": [null]}'), ("'[]'", "[]"))),
    Case("place", "geometry", "binary", (("ST_GeomFromText('POINT(1 2)')", POINT),)),
    Case(
        "ident", "uuid", "uuid", (("'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),)
    ),
    Case("address", "inet6", "string", (("'::1'", "::1"),)),
    Case("doubled", "int AS (1 + 1) STORED", "long", (("DEFAULT", 2),)),
    Case("hidden", "int INVISIBLE", "long", (("7", 7),)),
    Case("Odd `name`, é.x", "text", "string", (("'v'", "v"),)),
    Case("nothing", "text", "string", (("NULL", None),)),
)
MODE = "SET SESSION sql_mode = 'ALLOW_INVALID_DATES', time_zone = '-03:30'"


def quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def statements(table: str) -> list[str]:
    """DDL and rows: a row for each value of the column that has most, others NULL beyond theirs."""
    made = [
        MODE,
        f"CREATE TABLE {table} (row_id int PRIMARY KEY, {', '.join(f'{quoted(c.name)} {c.type}' for c in CASES)}) CHARACTER SET utf8mb4",
    ]
    for i in range(max(len(c.values) for c in CASES)):
        there = [c for c in CASES if i < len(c.values)]
        names = ", ".join(["row_id", *(quoted(c.name) for c in there)])
        values = ", ".join([str(i), *(c.values[i][0] for c in there)])
        made.append(f"INSERT INTO {table} ({names}) VALUES ({values})")
    return made


def expected(i: int) -> dict[str, Any]:
    """What arrives of a row."""
    absent = {"doubled": 2}
    return {"row_id": i, **{c.name: c.values[i][1] if i < len(c.values) else absent.get(c.name) for c in CASES}}
