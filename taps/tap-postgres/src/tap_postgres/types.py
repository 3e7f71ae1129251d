"""PostgreSQL's types: how each is selected so that its values arrive exactly, and what they are called downstream.

A type that the binary protocol carries exactly is read as it is; the others as text, which the tap makes values of. Values that Arrow
or Iceberg have none for (infinity, BC, 24:00, NaN in a decimal) arrive as their text: the target rejects such a row with its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_kit.columns import ENCODING_KEYWORD, TYPE_KEYWORD, json_schema_of
from tap_kit.database.source import Selected
from tap_postgres.calendar import sift_dates, sift_moments, sift_times, sift_timestamps

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from tap_kit.database.source import Sifted


@dataclass(frozen=True)
class Kind:
    """How a PostgreSQL type travels."""

    word: str
    """Our type of its values."""
    native: bool
    """The binary protocol carries the values exactly."""
    text: str = "{c}::text"
    """Expression of a value's text."""
    sift: Callable[[pa.Array], Sifted] | None = None
    """Takes out the values that Arrow or Iceberg have no room for."""
    json_schema: dict[str, Any] | None = None


_JSON: dict[str, Any] = {"type": ["string", "object", "array", "number", "boolean", "null"], ENCODING_KEYWORD: "json"}
_BY_NAME: dict[str, Kind] = {
    "int2": Kind("long", True),
    "int4": Kind("long", True),
    "int8": Kind("long", True),
    "oid": Kind("long", False),
    "float4": Kind("double", True),
    "float8": Kind("double", True),
    "bool": Kind("boolean", True),
    "text": Kind("string", True),
    "varchar": Kind("string", True),
    "bpchar": Kind("string", True),
    "name": Kind("string", False),
    "bytea": Kind("binary", True),
    "date": Kind("date", True, sift=sift_dates),
    "time": Kind("time", True, sift=sift_times),
    "timestamp": Kind("timestamp", True, sift=sift_timestamps),
    "timestamptz": Kind("timestamptz", True, sift=sift_moments),
    "uuid": Kind("string", False, json_schema={"format": "uuid", TYPE_KEYWORD: "uuid"}),
    "money": Kind("decimal(19,2)", False, text="{c}::numeric::text"),
    "json": Kind("json", False, json_schema=_JSON),
    "jsonb": Kind("json", False, json_schema=_JSON),
    "hstore": Kind("string", False),
    # Its cast to text adds a mask that it does not show.
    "inet": Kind("string", False, text="CASE WHEN {c} IS NOT NULL THEN concat({c}) END"),
}
_AS_JSON = Kind("json", False, text="to_json({c})::text", json_schema=_JSON)
# JSON has no lower bounds: an array with others than 1 is the text that the server has for it, which is no array.
_ARRAY_AS_JSON = (
    "CASE WHEN array_lower({c}, 1) <> 1 OR array_lower({c}, 2) <> 1 THEN to_json({c}::text) ELSE to_json({c}) END::text"
)
_ARRAY = Kind("json", False, text=_ARRAY_AS_JSON, json_schema={**_JSON, "type": ["array", "null"]})
_OBJECT = Kind("json", False, text=_AS_JSON.text, json_schema={**_JSON, "type": ["object", "null"]})
_BITS = "'B''' || {c}::text || ''''"
_AS_TEXT = Kind("string", False)


@dataclass(frozen=True)
class PgColumn:
    """A column as the server describes it."""

    name: str
    type: str
    """pg_type.typname of its base type, e.g. numeric, int4, _text."""
    category: str
    """pg_type.typcategory: A array, C composite, E enum, R range, ..."""
    modifier: int
    """Precision and scale of numeric, -1 where there is none."""
    required: bool
    shown_type: str
    """As people know it: numeric(12,2), character varying(20)."""
    comment: str | None = None

    @property
    def is_integer(self) -> bool:
        """smallint, integer or bigint."""
        return self.type in _INTEGERS

    @property
    def is_time(self) -> bool:
        """A date, or a timestamp with or without a zone."""
        return self.type in _TIMES

    @property
    def has_order(self) -> bool:
        """A literal takes the column's type, and with it its order."""
        return True

    @property
    def kind(self) -> Kind:
        """How its values travel."""
        if self.type == "numeric":
            # No decimal of Iceberg's has more than 38 digits; as text none is lost.
            return Kind(f"decimal({self._precision},{self._scale})", False) if self._precision <= 38 else _AS_TEXT
        if self.type in _BY_NAME:
            return _BY_NAME[self.type]
        return {"A": _ARRAY, "C": _OBJECT}.get(self.category, _AS_TEXT)

    @property
    def is_converted(self) -> bool:
        """What its values look like in a table's column is not what the server shows: arrays, composites and money."""
        return self.category in ("A", "C") or self.type == "money"

    @property
    def is_bits(self) -> bool:
        """A string of bits, whose text looks like a number."""
        return self.type in ("bit", "varbit")

    @property
    def json_schema(self) -> dict[str, Any]:
        """What the Singer catalog says of it."""
        kind = self.kind
        return json_schema_of(kind.word, required=self.required, comment=self.comment, more=kind.json_schema)

    @property
    def _precision(self) -> int:
        if self.modifier < 0:
            return 38
        return max(((self.modifier - 4) >> 16) & 0xFFFF, self._scale) - min(0, self._modified_scale)

    @property
    def _scale(self) -> int:
        """Of a numeric without precision 9; digits beyond are a reject, not a rounding."""
        return 9 if self.modifier < 0 else max(0, self._modified_scale)

    @property
    def _modified_scale(self) -> int:
        return (((self.modifier - 4) & 0x7FF) ^ 1024) - 1024


_INTEGERS = ("int2", "int4", "int8")
_TIMES = ("date", "timestamp", "timestamptz")


def identifier(name: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def literal_of(column: PgColumn, text: str) -> str:
    """A value of a column, from its text. Where its type need not be said, the server takes the column's."""
    return f"{literal(text)}::{column.type}" if column.is_time else literal(text)


def select(column: PgColumn, word: str) -> Selected:
    """How a column is read so that it arrives as a type.

    Args:
        column: as the server describes it.
        word: type that the stream's schema wants.
    """
    kind, c = column.kind, identifier(column.name)
    if (kind.native and kind.word == word) or (
        kind.word == "binary" and word in ("binary", "string") and column.type == "bytea"
    ):
        return Selected(column.name, word, c, False, kind.sift)
    if column.is_bits and word != "string":
        return Selected(column.name, word, _BITS.format(c=c), True)
    if kind.word == "json" == word:
        return Selected(column.name, word, kind.text.format(c=c), False)
    return Selected(column.name, word, kind.text.format(c=c), True)
