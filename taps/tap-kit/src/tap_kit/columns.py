"""A stream's columns as JSON Schema says them. Knows types by name only: nothing heavy is imported here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

TYPE_KEYWORD = "x-dativo-type"
"""Carries the column's type where the JSON Schema was written by Dativo; wins over `type` and `format`."""

OUT_OF_RANGE_KEYWORD = "x-dativo-out-of-range"
"""null: values of the source that the type has no room for are NULL, and not passed on as their text."""

ENCODING_KEYWORD = "x-dativo-encoding"
"""json: an object or array of unknown shape, kept as JSON text."""

_WORDS = {
    "long": "long",
    "int": "long",
    "double": "double",
    "float": "double",
    "boolean": "boolean",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "struct": "nested",
    "list": "nested",
    "map": "nested",
}
"""Types that a value is converted to; all others (uuid, binary) travel as text, as the source has them."""
_MEMBERS = ("properties", "items", "additionalProperties")
_FORMATS = {"date": "date", "time": "time", "date-time": "timestamptz"}
_DECIMAL = re.compile(r"decimal\(\s*(\d+)\s*,\s*(\d+)\s*\)")
_MAX_PRECISION = 38


@dataclass(frozen=True)
class Column:
    """One property of a stream."""

    name: str
    type: str
    """long, double, boolean, string, date, time, timestamp, timestamptz, decimal(p,s); json for JSON text of any shape,
    nested for JSON text that the target makes an object or array with typed members of."""
    required: bool = False
    nulls_odd: bool = False
    """Values of the source that the type has no room for are NULL."""
    is_single: bool = False
    """A double of which the table keeps 24 bits."""
    is_bytes: bool = False
    """A string that is the base64 of bytes, unless it comes as bytes."""


_SCHEMAS: dict[str, dict[str, Any]] = {
    "long": {"type": ["integer", "null"]},
    "double": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "string": {"type": ["string", "null"]},
    "binary": {"type": ["string", "null"], "contentEncoding": "base64"},
    "date": {"type": ["string", "null"], "format": "date"},
    "time": {"type": ["string", "null"], "format": "time"},
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
    "timestamptz": {"type": ["string", "null"], "format": "date-time"},
}


def json_schema_of(
    word: str, *, required: bool, comment: str | None, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """JSON Schema of a column for a Singer catalog; `type_of` gives its word back.

    Args:
        word: one of the types of `Column`, or binary.
        required: it is never NULL.
        comment: what the source says of it.
        more: keywords that say more about it, or otherwise.
    """
    parameters = decimal_parameters(word)
    if parameters is not None:
        precision, scale = parameters
        found: dict[str, Any] = {
            "type": ["string", "null"],
            "format": "decimal",
            "precision": precision,
            "scale": scale,
        }
    else:
        found = dict(_SCHEMAS.get(word, _SCHEMAS["string"]))
    if word != "json":
        found[TYPE_KEYWORD] = word
    found |= more or {}
    if required:
        found["type"] = [t for t in found["type"] if t != "null"]
    if comment:
        found["description"] = comment
    return found


def columns_of(schema: Mapping[str, Any], keys: Iterable[str] = (), without: Container[str] = ()) -> tuple[Column, ...]:
    """The columns of a schema; those of `keys` may not be NULL, those of `without` are left out."""
    required = {*schema.get("required", ()), *keys}
    return tuple(
        Column(
            name,
            type_of(definition),
            name in required or _denies_null(definition),
            definition.get(OUT_OF_RANGE_KEYWORD) == "null",
            definition.get(TYPE_KEYWORD) == "float",
            definition.get(TYPE_KEYWORD) == "binary",
        )
        for name, definition in schema["properties"].items()
        if name not in without
    )


def type_of(definition: Mapping[str, Any]) -> str:
    """Our word for the type of a JSON Schema property."""
    word = definition.get(TYPE_KEYWORD)
    if definition.get(ENCODING_KEYWORD) == "json":
        return "json"
    if isinstance(word, str):
        return _WORDS.get(word) or _decimal(word) or "string"
    return _type_of_kinds({k for k in _kinds(definition) if k != "null"}, definition)


def _type_of_kinds(kinds: set[str], definition: Mapping[str, Any]) -> str:
    if not kinds or kinds & {"object", "array"}:
        return "nested" if any(isinstance(definition.get(m), dict) for m in _MEMBERS) else "json"
    if kinds == {"integer", "number"}:
        kinds = {"number"}
    kind = next(iter(kinds)) if len(kinds) == 1 else "string"
    form = definition.get("format", "")
    plain = {"integer": "long", "number": "double", "boolean": "boolean"}.get(kind) or _FORMATS.get(form, "string")
    return (_decimal_of_keywords(definition) if plain in {"double", "string"} else None) or plain


def decimal_parameters(word: str) -> tuple[int, int] | None:
    """(precision, scale) of a type that is a decimal."""
    match = _DECIMAL.fullmatch(word)
    return (int(match[1]), int(match[2])) if match else None


def _decimal(word: str) -> str | None:
    parameters = decimal_parameters(word)
    if parameters is None or not 0 < parameters[0] <= _MAX_PRECISION:
        return None
    return f"decimal({parameters[0]},{parameters[1]})"


def _decimal_of_keywords(definition: Mapping[str, Any]) -> str | None:
    """From `precision` and `scale` (format decimal), or from a multipleOf that is a power of ten."""
    if definition.get("format") == "decimal" and "precision" in definition:
        return _decimal(f"decimal({definition['precision']},{definition.get('scale', 0)})")
    step = re.fullmatch(r"1e-0*(\d+)|0\.(0*1)", str(definition.get("multipleOf", "")))
    if step is None:
        return None
    return f"decimal({_MAX_PRECISION},{int(step[1]) if step[1] else len(step[2])})"


def _kinds(definition: Mapping[str, Any]) -> list[str]:
    """The words of `type`, also those of alternatives in anyOf."""
    kinds = definition.get("type", [])
    found = [kinds] if isinstance(kinds, str) else list(kinds)
    for alternative in definition.get("anyOf", ()):
        found += _kinds(alternative)
    return found


def _denies_null(definition: Mapping[str, Any]) -> bool:
    kinds = _kinds(definition)
    return bool(kinds) and "null" not in kinds
