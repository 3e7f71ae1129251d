"""The keywords of a SCHEMA message's JSON Schema as data rules: without a load plan they are the contract."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from target_iceberg.load_plan import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from target_iceberg.load_plan import Column, RowRuleKind

_KINDS: dict[str, RowRuleKind] = {
    "pattern": "pattern",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "exclusive_minimum",
    "exclusiveMaximum": "exclusive_maximum",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "uniqueItems": "unique_items",
    "format": "format",
}
_NUMERIC = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
_TEXT = frozenset({"pattern", "minLength", "maxLength", "format"})
_LISTS = frozenset({"minItems", "maxItems", "uniqueItems"})
_SPECIFIC_FORMATS = frozenset({"email", "uri", "url", "uuid", "ipv4", "ipv6", "hostname"})
"""Formats of text that stay text; date and time formats are types of their own, and others are annotations."""


def rules_of(stream: str, schema: Mapping[str, Any], columns: tuple[Column, ...]) -> tuple[Rule, ...]:
    """Rules for all keywords that speak of the values of a column, or of members and elements below it.

    Args:
        stream: begins the rules' names.
        schema: of the SCHEMA message.
        columns: what its properties became.
    """
    properties = schema.get("properties") or {}
    return tuple(
        rule
        for column in columns
        if isinstance(properties.get(column.name), dict)
        for rule in _rules(stream, column.name, column, properties[column.name])
    )


def _rules(stream: str, path: str, column: Column, schema: Mapping[str, Any]) -> Iterator[Rule]:
    schema = _without_null(schema)
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(allowed, list) and column.type not in {"struct", "list", "map", "binary"}:
        values = [v for v in allowed if v is not None]
        yield Rule(name=f"{stream}.{path}.enum", kind="enum", columns=(path,), argument=values)
    if column.encoding is None:
        for keyword, kind in _KINDS.items():
            argument = schema.get(keyword)
            if argument is not None and _applies(keyword, argument, column):
                yield Rule(name=f"{stream}.{path}.{keyword}", kind=kind, columns=(path,), argument=argument)
    if column.type == "struct":
        members = schema.get("properties") or {}
        for member in column.fields:
            if isinstance(members.get(member.name), dict):
                yield from _rules(stream, f"{path}.{member.name}", member, members[member.name])
    if column.type == "list" and isinstance(schema.get("items"), dict):
        yield from _rules(stream, f"{path}[]", column.fields[0], schema["items"])


def _without_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one thing that a nullable union wraps, with the keywords beside it."""
    for word in ("anyOf", "oneOf"):
        parts = [p for p in schema.get(word) or () if isinstance(p, dict) and p.get("type") not in ("null", ["null"])]
        if len(parts) == 1:
            return _without_null({**{k: v for k, v in schema.items() if k != word}, **parts[0]})
    merged = dict(schema)
    for part in schema.get("allOf") or ():
        if isinstance(part, dict):
            merged.update(part)
    return merged


def _applies(keyword: str, argument: Any, column: Column) -> bool:
    """Whether a keyword speaks of values of the column's type; JSON Schema ignores it for all others."""
    if keyword in _NUMERIC:
        if column.type not in {"long", "int", "double", "float"} and not column.type.startswith("decimal"):
            return False
        # A step of a power of ten is how taps give the digits of a decimal; its type has been taken from it.
        return isinstance(argument, bool) is False and not (keyword == "multipleOf" and _is_power_of_ten(argument))
    if keyword in _LISTS:
        return column.type == "list" and (keyword != "uniqueItems" or argument is True)
    if keyword == "format":
        return column.type == "string" and argument in _SPECIFIC_FORMATS
    return keyword in _TEXT and column.type == "string"


def _is_power_of_ten(step: Any) -> bool:
    try:
        return Decimal(str(step)).normalize().as_tuple().digits == (1,)
    except InvalidOperation:
        return False
