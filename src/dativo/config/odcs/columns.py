"""ODCS properties -> columns of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import available_timezones

import msgspec

from dativo.config.diagnostics import did_you_mean
from dativo.config.odcs.types import LOGICAL_TYPES, logical_type
from target_iceberg.types import UnknownTypeError, column_from_contract_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.yamlio import Document
    from target_iceberg.load_plan import Column

OUT_OF_RANGE = "dativo.outOfRange"
"""Custom property of a column: reject (the default), null or text."""
_FORMATS = {"uuid": "uuid", "binary": "binary", "byte": "binary", "i32": "int", "i64": "long", "f32": "float"}
"""logicalTypeOptions.format that says more about the type than about the values."""


def columns(
    properties: Sequence[dict[str, Any]], document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> tuple[Column, ...]:
    """Columns in their order; what cannot be one is a finding."""
    found: dict[str, Column] = {}
    for i, prop in enumerate(properties):
        here = (*place, i)
        name = prop["name"]
        if name in found:
            problem = f"the column '{name}' is there twice"
            findings.append(document.finding("DTV042", (*here, "name"), problem, "remove or rename one of them"))
            continue
        found[name] = column(prop, document, findings, here)
    _refuse_case_twins(properties, document, findings, place)
    return tuple(found.values())


def column(prop: dict[str, Any], document: Document, findings: list[Finding], place: tuple[PathPart, ...]) -> Column:
    """One property as a column, members included."""
    members = _members(prop, document, findings, place)
    facts: dict[str, Any] = {
        "required": bool(prop.get("required") or prop.get("primaryKey")),
        "doc": prop.get("description"),
        "classification": prop.get("classification"),
        "fields": members,
    }
    name = str(prop.get("name", "element"))
    word = str(prop["logicalType"]) if members else _word(prop, document, findings, place)
    try:
        made = _out_of_range(column_from_contract_type(word, name, **facts), prop, document, findings, place)
        zone = (prop.get("logicalTypeOptions") or {}).get("defaultTimezone")
        return made if zone is None else _in_zone(made, str(zone), document, findings, place)
    except UnknownTypeError as e:
        key = "physicalType" if word == prop.get("physicalType") else "logicalType"
        findings.append(document.finding("DTV043", (*place, key), str(e), "mend the type"))
        return column_from_contract_type("string", name, **{**facts, "fields": ()})


def _out_of_range(
    made: Column, prop: dict[str, Any], document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> Column:
    """What becomes of values that the type has no room for: `text` makes the column a text."""
    said = [c["value"] for c in prop.get("customProperties") or () if c.get("property") == OUT_OF_RANGE]
    word = str(said[-1]) if said else "reject"
    if word == "text":
        return column_from_contract_type("string", made.name, required=made.required, doc=made.doc, classification=made.classification)  # fmt: skip
    if word not in ("reject", "null"):
        problem = f"{word!r} does not say what becomes of a value without room in {made.type}"
        findings.append(document.finding("DTV043", place, problem, 'write reject, "null" or text'))
    if word == "null" and made.required:
        problem = f"'{made.name}' is required, so a value without room in {made.type} cannot become NULL"
        findings.append(document.finding("DTV043", place, problem, "remove required, or write reject or text"))
    return msgspec.structs.replace(made, out_of_range="null") if word == "null" else made


def _in_zone(
    made: Column, zone: str, document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> Column:
    """A timestamp of which values without offset are in a zone, or refused."""
    where = (*place, "logicalTypeOptions", "defaultTimezone")
    if made.type != "timestamptz":
        problem = f"defaultTimezone has no meaning for '{made.name}', a {made.type}"
        findings.append(document.finding("DTV043", where, problem, "remove it, or make it a timestamp with time zone"))
        return made
    if zone != "reject" and zone not in available_timezones():
        problem = f"no time zone '{zone}'{did_you_mean(zone, available_timezones())}"
        findings.append(document.finding("DTV043", where, problem, "write one like Europe/Berlin, or reject"))
        return made
    return msgspec.structs.replace(made, naive=None if zone in {"UTC", "Etc/UTC"} else zone)


def _members(
    prop: dict[str, Any], document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> tuple[Column, ...]:
    logical = prop.get("logicalType")
    if logical == "object" and prop.get("properties"):
        key = "fields" if document.written((*place, "fields", 0, "name")) is not None else "properties"
        return columns(prop["properties"], document, findings, (*place, key))
    if logical == "array" and prop.get("items"):
        item = {**prop["items"], "name": "element"}
        return (column(item, document, findings, (*place, "items")),)
    if logical == "map" and prop.get("map"):
        both = (("key", True), ("value", False))
        return tuple(
            column({**prop["map"][name], "name": name, "required": required}, document, findings, (*place, "map", name))
            for name, required in both
        )
    return ()


def _word(prop: dict[str, Any], document: Document, findings: list[Finding], place: tuple[PathPart, ...]) -> str:
    """The type word that says most: a physicalType that Dativo knows, else a telling format, else the logicalType."""
    logical = prop.get("logicalType")
    physical = prop.get("physicalType")
    options = prop.get("logicalTypeOptions") or {}
    if isinstance(physical, str):
        kind = logical_type(physical)
        # A database's own word (VARCHAR2, NVARCHAR) says nothing here; a known one of another kind is the source's
        # storage, not the value's type - except ODCS 3.0, which has no timestamp and says date + physicalType.
        if kind and (logical is None or kind == logical or (logical == "date" and kind == "timestamp")):
            return physical
    if logical == "timestamp" and options.get("timezone") is False:
        return "timestamp_ntz"
    if logical == "vector":
        return "array"
    if logical in {"string", "integer", "number"}:
        return _FORMATS.get(str(options.get("format")), str(logical))
    if logical in LOGICAL_TYPES:
        return str(logical)
    said = physical or logical
    problem = f"'{said}' is not a type{did_you_mean(str(said), LOGICAL_TYPES)}" if said else "the column has no type"
    key = "physicalType" if physical else "logicalType"
    remedy = f"set logicalType to one of: {', '.join(sorted(LOGICAL_TYPES))}"
    findings.append(document.finding("DTV043", (*place, key), problem, remedy))
    return "string"


def _refuse_case_twins(
    properties: Sequence[dict[str, Any]], document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> None:
    """Engines that read Iceberg fold case: id and ID would be one column to them."""
    names = [prop["name"] for prop in properties]
    for i, earlier in case_twins(names):
        problem = f"'{earlier}' and '{names[i]}' differ in case only; query engines take them for one column"
        findings.append(document.finding("DTV042", (*place, i, "name"), problem, "rename one of them"))


def case_twins(names: Sequence[str]) -> Iterator[tuple[int, str]]:
    """(position of a name, the first one that differs from it in case only)."""
    first: dict[str, str] = {}
    for i, name in enumerate(names):
        if (earlier := first.setdefault(name.lower(), name)) != name:
            yield i, earlier
