"""Type words of contracts as ODCS says them; what a word means for a column is `target_iceberg.types`' business."""

from __future__ import annotations

from target_iceberg.types import TABLE, UnknownTypeError, column_from_contract_type

_LOGICAL = {
    "long": "integer",
    "int": "integer",
    "double": "number",
    "float": "number",
    "boolean": "boolean",
    "string": "string",
    "uuid": "string",
    "binary": "string",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp",
    "timestamptz": "timestamp",
}
"""Iceberg's word -> ODCS logicalType."""
_NESTED = {"struct": "object", "list": "array", "map": "map", "string (json)": "object"}
_NESTED_WORDS = {word: _NESTED[t.word] for t in TABLE if t.word in _NESTED for word in t.contract_words}
LOGICAL_TYPES = frozenset({*_LOGICAL.values(), *_NESTED.values(), "vector"})


def odcs_type(word: str) -> tuple[str, str | None]:
    """(logicalType, physicalType or None where the first says it all) of a contract's type word.

    Raises:
        UnknownTypeError: no such type; the message says what there is.
    """
    bare = " ".join(word.strip().lower().split())
    logical = _NESTED_WORDS.get(bare)
    if logical is None:
        type_ = column_from_contract_type(word, "column").type
        logical = "number" if type_.startswith("decimal") else _LOGICAL[type_]
    return logical, None if word == logical else bare


def logical_type(word: str) -> str | None:
    """logicalType of a type word, None when it is none of ours (a database's VARCHAR2)."""
    try:
        return odcs_type(word)[0]
    except UnknownTypeError:
        return None
