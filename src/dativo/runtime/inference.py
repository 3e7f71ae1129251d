"""A contract from what a source says of itself: its Singer catalog and a few records."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dativo.config.contracts import SOURCE_TABLE
from target_iceberg import types

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from target_iceberg.load_plan import Column

WORDS = {"long": "integer", "int": "integer", "float": "double", "timestamptz": "timestamp", "timestamp": "timestamp_ntz",
         "struct": "object", "map": "object", "list": "array"}  # fmt: skip
"""Iceberg's word -> the contract's; the others are the same."""
_NAMES = {
    "PII": re.compile(
        r"(?:^|_)(?:e?mail|phone|mobile|fax|first_?name|last_?name|full_?name|surname|given_?name|birth\w*|dob|"
        r"address|street|zip|postal_?code|passport|ip_?address|contact|username|customer_?name)(?:_|$)"
    ),
    "SENSITIVE": re.compile(
        r"(?:^|_)(?:iban|bic|account_?number|card_?number|cvv|salary|tax_?id|vat_?id|ssn|social_?security|"
        r"password|secret|token|gender|religion|health\w*|diagnosis)(?:_|$)"
    ),
}
_VALUES = {
    "PII": (
        re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}"),
        re.compile(r"\+\d[\d ()./-]{6,}\d"),
        re.compile(r"(?:\d{1,3}\.){3}\d{1,3}"),
    ),
    "SENSITIVE": (
        re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7} ?[A-Z0-9]{0,3}"),
        re.compile(r"(?:\d{4}[ -]?){3}\d{4}"),
    ),
}
SOURCE_KEYWORD = "x-dativo-source"
"""Keyword of a stream's schema: the table that it is of."""
QUERY_KEYWORD = "x-dativo-query"
"""Keyword of a stream's schema: it is of a query."""
_NO_KEYS = ("float", "double")
MIN_SAMPLE = 20
"""Records below which a sample proves nothing."""
SHARE = 0.8
"""Share of the sample's values that must look like it."""


def contract_of(
    entry: Mapping[str, Any], records: Sequence[Mapping[str, Any]], *, source: str, domain: str | None
) -> dict[str, Any]:
    """A flat contract, in the order in which people write it.

    Args:
        entry: one stream of a Singer catalog.
        records: some of its records; may be none.
        source: connector type, for the id.
        domain: the namespace the job writes to, where it says so.
    """
    stream = str(entry.get("stream") or entry["tap_stream_id"])
    schema = entry.get("schema") or {}
    properties = {n: each for n, each in (schema.get("properties") or {}).items() if not n.startswith("_sdc_")}
    table = schema.get(SOURCE_KEYWORD)
    # A database says itself what is never NULL and what is a key, and of its queries nobody knows.
    told = [] if table or schema.get(QUERY_KEYWORD) else records
    keys = set(_keys(entry)) or likely_key(stream, list(properties), told)
    required = keys | set(schema.get("required") or ()) | always_there(list(properties), told)
    typed = {name: types.column_from_json_schema(name, each) for name, each in properties.items()}
    if any(column.type in _NO_KEYS for name, column in typed.items() if name in keys):
        keys = set()  # of which a contract must not be made
    columns = [
        _column(
            typed[name],
            records,
            required=name in required,
            key=name in keys,
            is_array=_is_array(each),
        )
        for name, each in properties.items()
    ]
    return {
        "apiVersion": "v3.0.2",
        "kind": "DataContract",
        "id": f"urn:{source}:{stream}",
        "name": stream,
        "version": "1.0.0",
        "status": "draft",
        **({"domain": domain} if domain else {}),
        **({"description": schema["description"]} if schema.get("description") else {}),
        **({"customProperties": [{"property": SOURCE_TABLE, "value": table}]} if table else {}),
        "schema": columns,
    }


def likely_key(stream: str, columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> set[str]:
    """The column that is called like a key and has another value in every record of a large enough sample."""
    names = {"id", f"{stream}_id", f"{stream.removesuffix('s')}_id", f"{stream.removesuffix('s')}id"}
    for name in columns:
        values = [record.get(name) for record in records]
        is_distinct = None not in values and len({repr(v) for v in values}) == len(values)
        if name.lower() in names and len(values) >= MIN_SAMPLE and is_distinct:
            return {name}
    return set()


def always_there(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> set[str]:
    """Columns that are never NULL in a sample that is not too small: files say nothing of it themselves."""
    if len(records) < MIN_SAMPLE:
        return set()
    return {name for name in columns if all(record.get(name) is not None for record in records)}


def classification_of(name: str, values: Iterable[Any]) -> str | None:
    """PII or SENSITIVE by the column's name, else by what most of its values look like; None for neither."""
    normal = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
    for word, pattern in _NAMES.items():
        if pattern.search(normal):
            return word
    texts = [v.strip() for v in values if isinstance(v, str) and v.strip()]
    for word, patterns in _VALUES.items():
        for pattern in patterns:
            if texts and sum(bool(pattern.fullmatch(t)) for t in texts) >= SHARE * len(texts):
                return word
    return None


def _is_array(schema: Mapping[str, Any]) -> bool:
    kinds = schema.get("type")
    return {kinds} == {"array"} if isinstance(kinds, str) else set(kinds or ()) - {"null"} == {"array"}


def _column(
    column: Column, records: Sequence[Mapping[str, Any]], *, required: bool, key: bool, is_array: bool
) -> dict[str, Any]:
    values = [record.get(column.name) for record in records]
    word = word_of(column.type) if column.encoding != "json" else "array" if is_array else "object"
    described: dict[str, Any] = {"name": column.name, "type": word}
    if required or column.required:
        described["required"] = True
    if key:
        described["primaryKey"] = True
    if classification := classification_of(column.name, values):
        described["classification"] = classification
    if column.doc:
        described["description"] = column.doc
    return described


def word_of(iceberg_type: str) -> str:
    """The contract's word of an Iceberg type."""
    return WORDS.get(iceberg_type, iceberg_type)


def _keys(entry: Mapping[str, Any]) -> list[str]:
    for item in entry.get("metadata") or ():
        keys = item.get("metadata", {}).get("table-key-properties") if item.get("breadcrumb") == [] else None
        if keys:
            return [str(k) for k in keys]
    return [str(k) for k in entry.get("key_properties") or ()]
