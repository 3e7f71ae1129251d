"""The one table of logical types in all their vocabularies; `types` is its public face."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

TYPE_KEY = "x-dativo-type"
"""JSON Schema keyword that carries `Column.type`; where it stands it wins over all others."""
ENCODING_KEY = "x-dativo-encoding"
OUT_OF_RANGE_KEY = "x-dativo-out-of-range"
DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
MAX_PRECISION = 38


class UnknownTypeError(ValueError):
    """A type word that means nothing here; the message lists what does."""


@dataclass(frozen=True)
class ColumnType:
    """One logical type in all four vocabularies."""

    word: str
    """Iceberg's word, as in `Column.type`."""
    json_schema: Mapping[str, Any]
    """Keywords that stand for the type in a SCHEMA message."""
    contract_words: tuple[str, ...]
    """What a contract may call it, lower case; parentheses such as varchar(20) are cut off before the look-up."""
    arrow: str
    """Arrow's name of the type."""
    accepts: str
    """JSON values that a RECORD may carry."""
    lossy: str | None = None
    """What gets lost on the way in, if anything."""


TABLE: tuple[ColumnType, ...] = (
    ColumnType(
        "long",
        {"type": "integer"},
        ("integer", "bigint", "long", "int64", "int8"),
        "int64",
        "whole numbers of 64 bit, 1.0 and 1e3 too",
    ),
    ColumnType(
        "int",
        {"type": "integer"},
        ("int", "int32", "smallint", "tinyint", "int16", "int4", "int2"),
        "int32",
        "whole numbers of 32 bit",
    ),
    ColumnType(
        "double",
        {"type": "number"},
        ("double", "number", "float64", "double precision", "float8"),
        "float64",
        "numbers; NaN, Infinity and -Infinity, also as text",
        "a number of more than 15 digits becomes the nearest double",
    ),
    ColumnType(
        "float",
        {"type": "number"},
        ("float", "real", "float32", "float4"),
        "float32",
        "as double, within single range",
        "a number of more than 6 digits becomes the nearest single",
    ),
    ColumnType(
        "decimal(p,s)",
        {"type": "string", "format": "decimal", "precision": "p", "scale": "s"},
        ("decimal(p,s)", "numeric(p,s)"),
        "decimal128(p, s)",
        "numbers and text of numbers, exact; a digit beyond the scale is a violation, trailing zeros are not",
    ),
    ColumnType("boolean", {"type": "boolean"}, ("boolean", "bool"), "bool", "true and false, nothing else"),
    ColumnType(
        "string",
        {"type": "string"},
        ("string", "text", "varchar", "char", "character varying", "character"),
        "string",
        "text; a number is a violation",
    ),
    ColumnType(
        "date",
        {"type": "string", "format": "date"},
        ("date",),
        "date32[day]",
        "2026-08-20, also with a time of midnight",
    ),
    ColumnType(
        "time",
        {"type": "string", "format": "time"},
        ("time",),
        "time64[us]",
        "23:59:59.999999, also with Z or +00:00",
        "digits beyond microseconds are cut off",
    ),
    ColumnType(
        "timestamptz",
        {"type": "string", "format": "date-time"},
        ("timestamp", "timestamptz", "timestamp_tz", "timestamp with time zone", "datetime", "date-time"),
        "timestamp[us, tz=UTC]",
        "ISO 8601; an offset is converted to UTC, a value without one is UTC",
        "digits beyond microseconds are cut off; the offset is not kept",
    ),
    ColumnType(
        "timestamp",
        {"type": "string", "format": "date-time", TYPE_KEY: "timestamp"},
        ("timestamp_ntz", "timestampntz", "timestamp without time zone", "datetime_ntz", "local-date-time"),
        "timestamp[us]",
        "ISO 8601 without offset, or with Z or +00:00; another offset is a violation",
        "digits beyond microseconds are cut off",
    ),
    ColumnType(
        "uuid",
        {"type": "string", "format": "uuid"},
        ("uuid", "guid"),
        "uuid",
        "32 hexadecimal digits, with or without hyphens",
    ),
    ColumnType(
        "binary",
        {"type": "string", "contentEncoding": "base64"},
        ("binary", "bytes", "blob", "bytea", "varbinary"),
        "binary",
        "base64",
    ),
    ColumnType(
        "struct",
        {"type": "object", "properties": {"…": {}}},
        ("object", "struct", "record"),
        "struct",
        "objects; members that are not declared are dropped",
    ),
    ColumnType("list", {"type": "array", "items": {"…": {}}}, ("array", "list"), "list", "arrays"),
    ColumnType(
        "map", {"type": "object", "additionalProperties": {"…": {}}, TYPE_KEY: "map"}, ("map",), "map", "objects"
    ),
    ColumnType(
        "string (json)",
        {ENCODING_KEY: "json", TYPE_KEY: "string"},
        ("json", "jsonb", "variant", "any"),
        "string",
        "any value, kept as compact JSON text: objects and arrays without declared members, properties without a type, mixed types",
    ),
)

WORDS = frozenset(t.word for t in TABLE if "(" not in t.word)


def decimal_parameters(word: str) -> tuple[int, int] | None:
    """(precision, scale) of `decimal(p,s)`, None for another word.

    Raises:
        UnknownTypeError: precision or scale is out of range.
    """
    m = DECIMAL.fullmatch(word)
    if m is None:
        return None
    precision, scale = int(m[1]), int(m[2])
    if not 1 <= precision <= MAX_PRECISION or scale > precision:
        raise UnknownTypeError(
            f"{word}: the precision lies between 1 and {MAX_PRECISION}, the scale between 0 and the precision"
        )
    return precision, scale
