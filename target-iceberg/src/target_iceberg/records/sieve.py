"""Finds the lines of a chunk that Arrow's JSON reader will not take, faster than asking it again and again.

It knows only the JSON type of each column (msgspec does, at about a million lines a second), so what passes may still be
refused by the reader, and what does not pass may still be taken by the row path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from target_iceberg.types import decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from target_iceberg.load_plan import Column

_NUMBER = int | float | None
_KINDS: dict[str, Any] = {
    "long": _NUMBER,
    "int": _NUMBER,
    "double": _NUMBER,
    "float": _NUMBER,
    "boolean": bool | None,
}


class Sieve:
    """Tells suspect lines of one stream."""

    def __init__(self, columns: Sequence[Column]) -> None:
        envelope = msgspec.defstruct("envelope", [("record", _struct("record", columns))], gc=False)
        self._decode = msgspec.json.Decoder(envelope).decode

    def suspects(self, lines: Iterable[bytes]) -> list[int]:
        """Indexes of the lines that do not hold the JSON types of the columns."""
        decode, found = self._decode, []
        for i, line in enumerate(lines):
            try:
                decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # noqa: PERF203 - one bad line must not hide the next
                found.append(i)
        return found


def can_be_field(name: str) -> bool:
    """Whether msgspec takes a name for a field; it compares it with the text of a key, escapes and all."""
    return not any(c in '"\\' or ord(c) < 32 for c in name)


def _struct(name: str, columns: Sequence[Column]) -> Any:
    columns = [c for c in columns if can_be_field(c.name)]  # of the others it says nothing
    names = {f"f{i}": c.name for i, c in enumerate(columns)}
    kinds = [
        (f"f{i}", _kind(c), msgspec.Raw(b"null") if _kind(c) is msgspec.Raw else None) for i, c in enumerate(columns)
    ]
    return msgspec.defstruct(name, kinds, rename=names, gc=False)


def _kind(column: Column) -> Any:
    if column.encoding == "json" or column.type == "map":
        return msgspec.Raw
    if decimal_parameters(column.type):
        return int | float | str | None
    if column.type == "struct":
        return _struct("member", column.fields) | None
    if column.type == "list":
        return list[_kind(column.fields[0])] | None  # type: ignore[misc]
    return _KINDS.get(column.type, str | None)
