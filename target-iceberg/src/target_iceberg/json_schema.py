"""JSON Schema of a Singer SCHEMA message to columns and back; `types` is its public face."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

from target_iceberg.load_plan import Column
from target_iceberg.type_table import (
    ENCODING_KEY,
    MAX_PRECISION,
    OUT_OF_RANGE_KEY,
    TABLE,
    TYPE_KEY,
    WORDS,
    UnknownTypeError,
    decimal_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMATS = {"date": "date", "date-time": "timestamptz", "datetime": "timestamptz", "time": "time", "uuid": "uuid"}
_TEXT_WORDS = frozenset({"string", "date", "time", "timestamp", "timestamptz", "uuid"})


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
    return Column(
        name=name,
        type=column.type,
        encoding=column.encoding,
        fields=column.fields,
        required=required and not nullable,
        doc=doc if isinstance(doc, str) else None,
        out_of_range="null" if schema.get(OUT_OF_RANGE_KEY) == "null" else None,
        classification=classification if isinstance(classification, str) else None,
    )


def columns_from_json_schema(schema: Mapping[str, Any]) -> tuple[Column, ...]:
    """Columns for the `schema` of a SCHEMA message, in its order."""
    required = set(schema.get("required") or ())
    return tuple(
        column_from_json_schema(name, _mapping(s), name in required)
        for name, s in _mapping(schema.get("properties")).items()
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _variants(schema: Mapping[str, Any]) -> tuple[bool, list[Mapping[str, Any]]]:
    """(may be null, what else it may be) with anyOf, oneOf, allOf and lists of types resolved."""
    if TYPE_KEY in schema:
        types = schema.get("type")
        return types is None or types == "null" or (isinstance(types, list) and "null" in types), [schema]
    nullable = False
    found: list[Mapping[str, Any]] = []
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
    allowed = [schema["const"]] if "const" in schema else schema.get("enum") or ()
    values = [v for v in allowed if v is not None]
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
        if (
            isinstance(precision, int)
            and isinstance(scale, int)
            and 1 <= precision <= MAX_PRECISION
            and 0 <= scale <= precision
        ):
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
    return (
        f"decimal({MAX_PRECISION},{max(0, -exponent)})"
        if isinstance(exponent, int) and -exponent <= MAX_PRECISION
        else "double"
    )


def _declared(name: str, word: str, schema: Mapping[str, Any]) -> Column:
    parameters = decimal_parameters(word)
    if parameters:
        return Column(name=name, type="decimal({},{})".format(*parameters))
    if word not in WORDS:
        raise UnknownTypeError(
            f"property {name}: {TYPE_KEY} {word!r} is not one of {', '.join(sorted(WORDS))}, decimal(p,s)"
        )
    fields: tuple[Column, ...] = ()
    if word == "struct":
        fields = columns_from_json_schema(schema)
    elif word == "list":
        fields = (
            column_from_json_schema(
                "element", _mapping(schema.get("items")), bool(schema.get("x-dativo-element-required"))
            ),
        )
    elif word == "map":
        value = column_from_json_schema(
            "value", _mapping(schema.get("additionalProperties")), bool(schema.get("x-dativo-element-required"))
        )
        fields = (Column(name="key", type="string", required=True), value)
    encoding: Literal["json", "base64"] | None = (
        "base64" if word == "binary" else "json" if schema.get(ENCODING_KEY) == "json" else None
    )
    return Column(name=name, type=word, encoding=encoding, fields=fields)


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


def json_schema_of(column: Column) -> dict[str, Any]:
    """JSON Schema of a column for a Singer catalog; `column_from_json_schema` gives the same column back."""
    schema: dict[str, Any] = dict(_keywords(column))
    kinds = schema.get("type")
    if kinds is not None and not column.required:
        schema["type"] = [*([kinds] if isinstance(kinds, str) else kinds), "null"]
    schema[TYPE_KEY] = column.type
    if column.encoding == "json":
        schema[ENCODING_KEY] = "json"
    if column.out_of_range:
        schema[OUT_OF_RANGE_KEY] = column.out_of_range
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
        return {
            "type": "array",
            "items": json_schema_of(element),
            **({"x-dativo-element-required": True} if element.required else {}),
        }
    if column.type == "map":
        value = column.fields[1]
        return {
            "type": "object",
            "additionalProperties": json_schema_of(value),
            **({"x-dativo-element-required": True} if value.required else {}),
        }
    return dict(next(t for t in TABLE if t.word == column.type).json_schema)
