"""Rows of an Arrow table as JSON text, such as a tap would have sent: what a reject keeps of a record."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from target_iceberg.records.rejects import MASK, MAX_RECORD_CHARACTERS, SOURCE_FILE, SOURCE_RECORD, cut, shown
from target_iceberg.records.scalars import json_text
from target_iceberg.records.values import Members, Number, ValueRefused, parsed

if TYPE_CHECKING:
    from collections.abc import Collection


def record_json(table: pa.Table, classified: Collection[str], json_columns: Collection[str] = ()) -> str:
    """JSON text of the first row of a table.

    Args:
        classified: columns whose values are replaced by `***`.
        json_columns: columns that hold JSON text already.
    """
    parts = []
    for name in table.column_names:
        text = json.dumps(MASK) if name in classified else _text(table, name, name in json_columns)
        parts.append(f"{json.dumps(name, ensure_ascii=False)}:{text}")
    return cut("{" + ",".join(parts) + "}", MAX_RECORD_CHARACTERS)


def value_json(table: pa.Table, name: str, masked: bool) -> str | None:
    """JSON text of one value of the first row, as a reject may show it; None for NULL."""
    text = _text(table, name, False)
    return None if text == "null" else shown(text, masked)


def source_of(table: pa.Table) -> tuple[str | None, int | None]:
    """(file, record) that the first row says it came from."""
    file, record = (
        _value(table, name) if name in table.column_names else None for name in (SOURCE_FILE, SOURCE_RECORD)
    )
    return file if isinstance(file, str) else None, record if isinstance(record, int) else None


def _text(table: pa.Table, name: str, is_json: bool) -> str:
    value = _value(table, name)
    if is_json and isinstance(value, str):
        return value
    return json_text(_finite(parsed(value)))


def _value(table: pa.Table, name: str) -> Any:
    """Python value of the first row, text where Python has none: a date after the year 9999, bytes that are not UTF-8."""
    try:
        return table[name][0].as_py()
    except (ValueError, OverflowError):
        first = table[name].slice(0, 1)
    if pa.types.is_string(first.type) or pa.types.is_large_string(first.type):
        return bytes(first.cast(pa.large_binary())[0].as_py()).decode("utf-8", "backslashreplace")
    return "unreadable" if pa.types.is_nested(first.type) else first.cast(pa.string())[0].as_py()


def _finite(value: Any) -> Any:
    """NaN and Infinity as text, which JSON can carry and a double column takes back."""
    if isinstance(value, Number):
        try:
            json_text(value)
        except ValueRefused:
            return value.text
        return value
    if isinstance(value, dict):
        return Members([(k, _finite(v)) for k, v in value.items()])
    return [_finite(v) for v in value] if isinstance(value, list) else value
