"""Logical types of columns: from JSON Schema and contract words to Arrow and Iceberg.

Compiler, decoder and documentation read the one table behind it, so that none of them has an opinion of its own. Importing
it loads neither PyArrow nor PyIceberg.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from target_iceberg.json_schema import column_from_json_schema, columns_from_json_schema, json_schema_of
from target_iceberg.load_plan import Column
from target_iceberg.type_table import (
    ENCODING_KEY,
    TABLE,
    TYPE_KEY,
    WORDS,
    ColumnType,
    UnknownTypeError,
    decimal_parameters,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ENCODING_KEY",
    "TABLE",
    "TYPE_KEY",
    "WORDS",
    "ColumnType",
    "UnknownTypeError",
    "arrow_schema",
    "arrow_type",
    "column_from_contract_type",
    "column_from_json_schema",
    "columns_from_json_schema",
    "contract_words",
    "decimal_parameters",
    "json_schema_of",
]

_BY_CONTRACT_WORD = {word: t.word for t in TABLE for word in t.contract_words if "(p,s)" not in word}


def column_from_contract_type(
    word: str,
    name: str,
    *,
    required: bool = False,
    doc: str | None = None,
    classification: str | None = None,
    fields: Iterable[Column] = (),
) -> Column:
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
        members = (msgspec.structs.replace(members[0], name="element"),)
    return Column(
        name=name,
        type=type_,
        encoding=encoding,
        required=required,
        doc=doc,
        classification=classification,
        fields=members if type_ in {"struct", "list", "map"} else (),
    )


def _contract_word(word: str) -> tuple[str, Literal["json", "base64"] | None]:
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
        "long": pa.int64,
        "int": pa.int32,
        "double": pa.float64,
        "float": pa.float32,
        "boolean": pa.bool_,
        "string": pa.string,
        "date": pa.date32,
        "time": lambda: pa.time64("us"),
        "timestamp": lambda: pa.timestamp("us"),
        "timestamptz": lambda: pa.timestamp("us", tz="UTC"),
        "uuid": pa.uuid,
        "binary": pa.binary,
    }
    if column.type not in simple:
        raise UnknownTypeError(
            f"column {column.name}: no type {column.type!r}; known are {', '.join(sorted(WORDS))}, decimal(p,s)"
        )
    return simple[column.type]()


def arrow_schema(columns: Iterable[Column]) -> Any:
    """`pyarrow.Schema` of decoded tables."""
    import pyarrow as pa

    return pa.schema([pa.field(c.name, arrow_type(c)) for c in columns])
