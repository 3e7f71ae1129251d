"""The one table of logical types: JSON Schema, contract words, Arrow and Iceberg.

Compiler, decoder and documentation read it, so that none of them has an opinion of its own. Importing it loads
neither PyArrow nor PyIceberg.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from target_iceberg.load_plan import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TYPE_KEY = "x-dativo-type"
"""JSON Schema keyword that carries `Column.type`; where it stands it wins over all others."""
ENCODING_KEY = "x-dativo-encoding"
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
    ColumnType("long", {"type": "integer"}, ("integer", "bigint", "long", "int64", "int8"), "int64",
               "whole numbers of 64 bit, 1.0 and 1e3 too"),
    ColumnType("int", {"type": "integer"}, ("int", "int32", "smallint", "tinyint", "int16", "int4", "int2"), "int32", "whole numbers of 32 bit"),
    ColumnType("double", {"type": "number"}, ("double", "number", "float64", "double precision", "float8"), "float64",
               'numbers; NaN, Infinity and -Infinity, also as text', "a number of more than 15 digits becomes the nearest double"),
    ColumnType("float", {"type": "number"}, ("float", "real", "float32", "float4"), "float32", "as double, within single range",
               "a number of more than 6 digits becomes the nearest single"),
    ColumnType("decimal(p,s)", {"type": "string", "format": "decimal", "precision": "p", "scale": "s"}, ("decimal(p,s)", "numeric(p,s)"),
               "decimal128(p, s)", "numbers and text of numbers, exact; a digit beyond the scale is a violation, trailing zeros are not"),
    ColumnType("boolean", {"type": "boolean"}, ("boolean", "bool"), "bool", "true and false, nothing else"),
    ColumnType("string", {"type": "string"}, ("string", "text", "varchar", "char", "character varying", "character"), "string",
               "text; a number is a violation"),
    ColumnType("date", {"type": "string", "format": "date"}, ("date",), "date32[day]", "2026-08-20, also with a time of midnight"),
    ColumnType("time", {"type": "string", "format": "time"}, ("time",), "time64[us]", "23:59:59.999999, also with Z or +00:00",
               "digits beyond microseconds are cut off"),
    ColumnType("timestamptz", {"type": "string", "format": "date-time"},
               ("timestamp", "timestamptz", "timestamp_tz", "timestamp with time zone", "datetime", "date-time"), "timestamp[us, tz=UTC]",
               "ISO 8601; an offset is converted to UTC, a value without one is UTC", "digits beyond microseconds are cut off; the offset is not kept"),
    ColumnType("timestamp", {"type": "string", "format": "date-time", TYPE_KEY: "timestamp"},
               ("timestamp_ntz", "timestampntz", "timestamp without time zone", "datetime_ntz", "local-date-time"), "timestamp[us]",
               "ISO 8601 without offset, or with Z or +00:00; another offset is a violation", "digits beyond microseconds are cut off"),
    ColumnType("uuid", {"type": "string", "format": "uuid"}, ("uuid", "guid"), "uuid", "32 hexadecimal digits, with or without hyphens"),
    ColumnType("binary", {"type": "string", "contentEncoding": "base64"}, ("binary", "bytes", "blob", "bytea", "varbinary"), "binary", "base64"),
    ColumnType("struct", {"type": "object", "properties": {"…": {}}}, ("object", "struct", "record"), "struct", "objects; members that are not declared are dropped"),
    ColumnType("list", {"type": "array", "items": {"…": {}}}, ("array", "list"), "list", "arrays"),
    ColumnType("map", {"type": "object", "additionalProperties": {"…": {}}, TYPE_KEY: "map"}, ("map",), "map", "objects"),
    ColumnType("string (json)", {ENCODING_KEY: "json", TYPE_KEY: "string"}, ("json", "jsonb", "variant", "any"), "string",
               "any value, kept as compact JSON text: objects and arrays without declared members, properties without a type, mixed types"),
)

WORDS = frozenset(t.word for t in TABLE if "(" not in t.word)
_BY_CONTRACT_WORD = {word: t.word for t in TABLE for word in t.contract_words if "(p,s)" not in word}
_FORMATS = {"date": "date", "date-time": "timestamptz", "datetime": "timestamptz", "time": "time", "uuid": "uuid"}
_TEXT_WORDS = frozenset({"string", "date", "time", "timestamp", "timestamptz", "uuid"})


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
        raise UnknownTypeError(f"{word}: the precision lies between 1 and {MAX_PRECISION}, the scale between 0 and the precision")
    return precision, scale


def column_from_contract_type(word: str, name: str, *, required: bool = False, doc: str | None = None, classification: str | None = None,
                              fields: Iterable[Column] = ()) -> Column:
    """Column for a contract's type word (ODCS logical or physical type, or the flat dialect's).

    Args:
        fields: members of an object, the one element of an array, key and value of a map; an object or array without
            them is kept as JSON text.

    Raises:
        UnknownTypeError: no such type, or a decimal without precision and scale.
    """
    type_, encoding = _contract_word(word)
    members = tuple(fields)
    if type_ in {"struct", "list", "map"} and not members:
        type_, encoding = "string", "json"
    if type_ == "list":
        members = (_renamed(members[0], "element"),)
    return Column(name=name, type=type_, encoding=encoding, required=required, doc=doc, classification=classification,  # type: ignore[arg-type]
                  fields=members if type_ in {"struct", "list", "map"} else ())


def _contract_word(word: str) -> tuple[str, str | None]:
    text = " ".join(word.strip().lower().split())
    m = re.fullmatch(r"(decimal|numeric|number)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", text)
    if m:
        parameters = decimal_parameters(f"decimal({m[2]},{m[3] or 0})")
        assert parameters  # the text was just built
        return "decimal({},{})".format(*parameters), None
    if text in {"decimal", "numeric"}:
        raise UnknownTypeError(f"type {word!r}: give precision and scale, e.g. decimal(18,2)")
    bare = " ".join(re.sub(r"\(\s*\d*\s*\)", " ", text).split())
    found = _BY_CONTRACT_WORD.get(text) or _BY_CONTRACT_WORD.get(bare)
    if found is None:
        near = difflib.get_close_matches(text, _BY_CONTRACT_WORD, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(contract_words())}"
        raise UnknownTypeError(f"no type {word!r}; {hint}")
    if found == "string (json)":
        return "string", "json"
    return found, "base64" if found == "binary" else None


def contract_words() -> list[str]:
    """The first word of each type that a contract may use."""
    return [t.contract_words[0] for t in TABLE]


def column_from_json_schema(name: str, schema: Mapping[str, Any], required: bool = False) -> Column:
    """Column for a property of a SCHEMA message; never fails on a schema it does not know: that is JSON text.

    Raises:
        UnknownTypeError: `x-dativo-type` holds a word that does not exist.
    """
    nullable, variants = _variants(schema)
    columns = [_single(name, v) for v in variants]
    column = _union(name, columns)
    doc = schema.get("description")
    classification = schema.get("x-dativo-classification")
    return Column(name=name, type=column.type, encoding=column.encoding, fields=column.fields, required=required and not nullable,
                  doc=doc if isinstance(doc, str) else None, classification=classification if isinstance(classification, str) else None)


def columns_from_json_schema(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    """Columns for the `schema` of a SCHEMA message, in its order."""
    required = set(schema.get("required") or ())
    return tuple(column_from_json_schema(name, _mapping(s), name in required) for name, s in _mapping(schema.get("properties")).items())


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _variants(schema: Mapping[str, Any]) -> tuple[bool, list[Mapping[str, Any]]]:
    """(may be null, what else it may be) with anyOf, oneOf, allOf and lists of types resolved."""
    if TYPE_KEY in schema:
        types = schema.get("type")
        return types is None or types == "null" or (isinstance(types, list) and "null" in types), [schema]
    nullable, found = False, []
    for part in schema.get("anyOf") or schema.get("oneOf") or ():
        outer = {k: v for k, v in schema.items() if k not in {"anyOf", "oneOf", "type"}}
        null, inner = _variants({**outer, **_mapping(part)})
        nullable, found = nullable or null, [*found, *inner]
    if found or nullable:
        return nullable, found
    if isinstance(schema.get("allOf"), list):
        merged = {k: v for k, v in schema.items() if k != "allOf"}
        for part in schema["allOf"]:
            merged.update(_mapping(part))
        return _variants(merged)
    types = schema.get("type")
    if types is None:
        return True, [{**schema, "type": _type_of_enum(schema)}]
    names = [types] if isinstance(types, str) else [t for t in types if isinstance(t, str)]
    return "null" in names, [{**schema, "type": t} for t in names if t != "null"]


def _type_of_enum(schema: Mapping[str, Any]) -> str | None:
    values = [v for v in schema.get("enum") or () if v is not None]
    return "string" if values and all(isinstance(v, str) for v in values) else None


def _single(name: str, schema: Mapping[str, Any]) -> Column:
    """Column for a schema of exactly one type."""
    word = schema.get(TYPE_KEY)
    if isinstance(word, str):
        return _declared(name, word, schema)
    kind = schema.get("type")
    if kind == "object" and _mapping(schema.get("properties")):
        return Column(name=name, type="struct", fields=columns_from_json_schema(schema))
    if kind == "array" and _mapping(schema.get("items")):
        return Column(name=name, type="list", fields=(column_from_json_schema("element", schema["items"]),))
    if kind == "string":
        return _string(name, schema)
    if kind == "number":
        return Column(name=name, type=_number(schema))
    simple = {"integer": "long", "boolean": "boolean"}.get(kind) if isinstance(kind, str) else None
    return Column(name=name, type=simple) if simple else Column(name=name, type="string", encoding="json")


def _string(name: str, schema: Mapping[str, Any]) -> Column:
    if schema.get("contentEncoding") == "base64":
        return Column(name=name, type="binary", encoding="base64")
    format_ = schema.get("format")
    if format_ in {"decimal", "singer.decimal"}:
        # Without precision no decimal type is sure to hold the values; text loses nothing.
        precision, scale = schema.get("precision"), schema.get("scale") or 0
        if isinstance(precision, int) and isinstance(scale, int) and 1 <= precision <= MAX_PRECISION and 0 <= scale <= precision:
            return Column(name=name, type=f"decimal({precision},{scale})")
        return Column(name=name, type="string")
    return Column(name=name, type=_FORMATS.get(format_, "string") if isinstance(format_, str) else "string")


def _number(schema: Mapping[str, Any]) -> str:
    """double, or a decimal where multipleOf says how many digits follow the point (tap-postgres does)."""
    step = schema.get("multipleOf")
    if isinstance(step, bool) or not isinstance(step, (int, float, str)):
        return "double"
    try:
        exponent = Decimal(str(step)).normalize().as_tuple().exponent
    except InvalidOperation:
        return "double"
    return f"decimal({MAX_PRECISION},{max(0, -exponent)})" if isinstance(exponent, int) and -exponent <= MAX_PRECISION else "double"


def _declared(name: str, word: str, schema: Mapping[str, Any]) -> Column:
    parameters = decimal_parameters(word)
    if parameters:
        return Column(name=name, type="decimal({},{})".format(*parameters))
    if word not in WORDS:
        raise UnknownTypeError(f"property {name}: {TYPE_KEY} {word!r} is not one of {', '.join(sorted(WORDS))}, decimal(p,s)")
    fields: tuple[Column, ...] = ()
    if word == "struct":
        fields = columns_from_json_schema(schema)
    elif word == "list":
        fields = (column_from_json_schema("element", _mapping(schema.get("items")), bool(schema.get("x-dativo-element-required"))),)
    elif word == "map":
        value = column_from_json_schema("value", _mapping(schema.get("additionalProperties")), bool(schema.get("x-dativo-element-required")))
        fields = (Column(name="key", type="string", required=True), value)
    encoding = "base64" if word == "binary" else "json" if schema.get(ENCODING_KEY) == "json" else None
    return Column(name=name, type=word, encoding=encoding, fields=fields)  # type: ignore[arg-type]


def _union(name: str, columns: list[Column]) -> Column:
    """One column that takes the values of all; JSON text where nothing narrower does."""
    if columns and all(c == columns[0] for c in columns):
        return columns[0]
    kinds = {c.type for c in columns}
    plain = all(c.encoding is None for c in columns)
    if plain and kinds and kinds <= {"long", "double"}:
        return Column(name=name, type="double")
    if plain and kinds and kinds <= _TEXT_WORDS:
        return Column(name=name, type="string")
    return Column(name=name, type="string", encoding="json")


def _renamed(column: Column, name: str) -> Column:
    import msgspec

    return msgspec.structs.replace(column, name=name)


def json_schema_of(column: Column) -> dict[str, Any]:
    """JSON Schema of a column for a Singer catalog; `column_from_json_schema` gives the same column back."""
    schema: dict[str, Any] = dict(_keywords(column))
    kinds = schema.get("type")
    if kinds is not None and not column.required:
        schema["type"] = [*([kinds] if isinstance(kinds, str) else kinds), "null"]
    schema[TYPE_KEY] = column.type
    if column.encoding == "json":
        schema[ENCODING_KEY] = "json"
    if column.doc:
        schema["description"] = column.doc
    if column.classification:
        schema["x-dativo-classification"] = column.classification
    return schema


def _keywords(column: Column) -> dict[str, Any]:
    parameters = decimal_parameters(column.type)
    if parameters:
        return {"type": "string", "format": "decimal", "precision": parameters[0], "scale": parameters[1]}
    if column.encoding == "json":
        # No "boolean": the Singer SDK would turn every value into one.
        return {"type": ["object", "array", "string", "number"]}
    if column.type == "struct":
        schema: dict[str, Any] = {"type": "object", "properties": {c.name: json_schema_of(c) for c in column.fields}}
        required = [c.name for c in column.fields if c.required]
        return {**schema, "required": required} if required else schema
    if column.type == "list":
        element = column.fields[0]
        return {"type": "array", "items": json_schema_of(element), **({"x-dativo-element-required": True} if element.required else {})}
    if column.type == "map":
        value = column.fields[1]
        return {"type": "object", "additionalProperties": json_schema_of(value), **({"x-dativo-element-required": True} if value.required else {})}
    return dict(next(t for t in TABLE if t.word == column.type).json_schema)


def arrow_type(column: Column) -> Any:
    """`pyarrow.DataType` of a column in decoded tables; nested members are nullable, NULLs are the contract's business."""
    import pyarrow as pa

    parameters = decimal_parameters(column.type)
    if parameters:
        return pa.decimal128(*parameters)
    if column.type == "struct":
        return pa.struct([pa.field(c.name, arrow_type(c)) for c in column.fields])
    if column.type == "list":
        return pa.list_(pa.field("element", arrow_type(column.fields[0])))
    if column.type == "map":
        return pa.map_(arrow_type(column.fields[0]), arrow_type(column.fields[1]))
    simple = {
        "long": pa.int64, "int": pa.int32, "double": pa.float64, "float": pa.float32, "boolean": pa.bool_, "string": pa.string,
        "date": pa.date32, "time": lambda: pa.time64("us"), "timestamp": lambda: pa.timestamp("us"),
        "timestamptz": lambda: pa.timestamp("us", tz="UTC"), "uuid": pa.uuid, "binary": pa.binary,
    }
    if column.type not in simple:
        raise UnknownTypeError(f"column {column.name}: no type {column.type!r}; known are {', '.join(sorted(WORDS))}, decimal(p,s)")
    return simple[column.type]()


def arrow_schema(columns: Iterable[Column]) -> Any:
    """`pyarrow.Schema` of decoded tables."""
    import pyarrow as pa

    return pa.schema([pa.field(c.name, arrow_type(c)) for c in columns])
