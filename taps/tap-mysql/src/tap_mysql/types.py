"""MySQL's types: how each is selected so that its values arrive exactly, and what they are called downstream.

What the binary protocol carries exactly is read as it is; the rest as text, of which the tap makes values. Dates that are none (zero, the
31st of February, the month 00) and times of more than a day arrive as their text: the target rejects such a row with its reason.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tap_kit.columns import ENCODING_KEYWORD, TYPE_KEYWORD, json_schema_of
from tap_kit.database.source import Selected
from tap_mysql.columns import sift

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from tap_kit.database.source import Sifted

_TEXT = "CAST({c} AS CHAR)"
_MAX_PRECISION = 38


@dataclass(frozen=True)
class Kind:
    """How a type travels."""

    word: str
    """Our type of its values."""
    value: str | None = None
    """Expression that travels exactly; None: only its text does."""
    text: str = _TEXT
    """Expression of a value's text."""
    sift: Callable[[pa.Array], Sifted] | None = None
    """Takes out the values that Arrow has no room for."""
    json_schema: dict[str, Any] | None = None


_LONG, _STRING = Kind("long", "{c}"), Kind("string", "{c}")
_BINARY = Kind("binary", "{c}", text="HEX({c})")
_JSON = Kind(
    "json", text="{c}", json_schema={"type": ["object", "array", "string", "number", "null"], ENCODING_KEYWORD: "json"}
)
_BY_TYPE: dict[str, Kind] = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "integer", "year"), _LONG),
    "bigint": _LONG,
    "float": Kind("double", "{c}"),
    "double": Kind("double", "{c}"),
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"), _STRING),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), _BINARY),
    "date": Kind("date", "{c}", sift=sift),
    "time": Kind("time"),
    "datetime": Kind("timestamp", "{c}", sift=sift),
    "timestamp": Kind("timestamptz", "{c}", sift=sift),
    "json": _JSON,
    "uuid": Kind("string", json_schema={"format": "uuid", TYPE_KEYWORD: "uuid"}),
}
_INTEGERS = ("tinyint", "smallint", "mediumint", "int", "integer", "bigint")
_GEOMETRIES = (
    "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection",
    "geomcollection",
)  # fmt: skip


@dataclass(frozen=True)
class MyColumn:
    """A column as the server describes it."""

    name: str
    type: str
    """information_schema's DATA_TYPE: bigint, varchar, ..."""
    shown_type: str
    """COLUMN_TYPE: bigint(20) unsigned."""
    precision: int | None
    scale: int | None
    required: bool
    comment: str | None = None
    is_json: bool = False
    """The server checks that the text is JSON, which is what MariaDB's type JSON is."""

    @property
    def is_integer(self) -> bool:
        """A whole number of at most 64 bits."""
        return self.type in _INTEGERS

    @property
    def _is_large(self) -> bool:
        return self.type == "bigint" and "unsigned" in self.shown_type

    @property
    def is_time(self) -> bool:
        """A date, datetime or timestamp."""
        return self.type in ("date", "datetime", "timestamp")

    @property
    def has_order(self) -> bool:
        """ENUM and SET are sorted by their numbers and compared by their texts."""
        return self.type not in ("enum", "set")

    @property
    def is_binary(self) -> bool:
        """Bytes."""
        return self.kind.word == "binary"

    @property
    def kind(self) -> Kind:
        """How its values travel."""
        if self.is_json:
            return _JSON
        if self.type == "decimal":
            # No decimal of Iceberg's has more than 38 digits; as text none is lost.
            fits = (self.precision or 0) <= _MAX_PRECISION
            return Kind(f"decimal({self.precision},{self.scale})" if fits else "string")
        if self.type == "bit":
            bits = int((re.findall(r"\d+", self.shown_type) or ["1"])[0])
            word = "boolean" if bits == 1 else "long" if bits < 64 else "decimal(20,0)"
            return Kind(word, text="CAST({c} + 0 AS CHAR)")
        if self.type in _GEOMETRIES:
            return Kind("binary", "ST_AsWKB({c})", text="HEX(ST_AsWKB({c}))")
        return Kind("decimal(20,0)") if self._is_large else _BY_TYPE.get(self.type, Kind("string"))

    @property
    def json_schema(self) -> dict[str, Any]:
        """What the Singer catalog says of it."""
        kind = self.kind
        return json_schema_of(kind.word, required=self.required, comment=self.comment, more=kind.json_schema)


def identifier(name: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """A text as SQL writes it, in the mode that every session is set to."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def literal_of(column: MyColumn, text: str) -> str:
    """A value of a column, from `text_of`. Numbers are no texts, since MySQL compares those as floats."""
    if column.is_binary:
        return f"X'{text}'"
    is_number = column.type in ("decimal", "float", "double", "year", "bit", *_INTEGERS)
    if is_number and re.fullmatch(r"[-+]?[\d.]+(?:[eE][-+]?\d+)?", text):
        return text
    return literal(text)


def text_of(column: MyColumn) -> str:
    """Expression of a value's text, from which `literal_of` makes the same value."""
    # The text of a FLOAT is rounded, so that several of them have the same; that of the same DOUBLE is not.
    text = "CAST({c} + 0e0 AS CHAR)" if column.type == "float" else column.kind.text
    return text.format(c=identifier(column.name))


def select(column: MyColumn, word: str) -> Selected:
    """How a column is read so that it arrives as a type.

    Args:
        column: as the server describes it.
        word: type that the stream's schema wants.
    """
    kind, c = column.kind, identifier(column.name)
    if column.is_binary and word in ("binary", "string") and kind.value is not None:
        return Selected(column.name, word, kind.value.format(c=c), False)
    if kind.word == "json" == word:
        return Selected(column.name, word, kind.text.format(c=c), False)
    if column.is_binary:  # in digits that no type takes for a number
        return Selected(column.name, word, f"CONCAT('0x', {kind.text.format(c=c)})", True)
    if column.type == "decimal" or (column.type == "float" and word != "double"):
        # The text of a FLOAT is ours: as short as it can be for this number, while the server's stops after six digits.
        return Selected(column.name, word, c, True)
    if kind.value is None or kind.word != word:
        return Selected(column.name, word, kind.text.format(c=c), True)
    return Selected(column.name, word, kind.value.format(c=c), False, kind.sift)
