"""Values typed by Arrow's CSV parser itself, where it means by them what `cast_texts` means.

That is half the cost of texts and casts. It takes a block as a whole or not at all: whatever it does not read, or might
read otherwise, goes the way of texts.
"""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from tap_kit.cast import FALSE_WORDS, TRUE_WORDS, arrow_type, cast_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_BY_TEXT = frozenset({"string", "json", "nested", "time"})
"""Read as text also here: Arrow's parser does not know them, or has nothing to convert."""
_GIVE_UP_AFTER = 3
_TRY_AGAIN_EVERY = 16


class DirectReader:
    """Reads blocks of one file with typed columns.

    Args:
        types: field name -> column type, of the fields that are wanted.
        parse: how a block is parsed but for its conversion.
    """

    def __init__(self, types: Mapping[str, str], null_values: list[str]) -> None:
        self._types = dict(types)
        self._null_values = null_values
        self._zoned = False
        """Whether timestamps of timestamptz columns carry a zone in this file."""
        self._failures = 0
        self._blocks = 0

    def read(self, data: bytes, read_csv: Callable[[Any], pa.Table]) -> dict[str, pa.Array] | None:
        """Columns by field name, or None.

        Args:
            data: the block.
            read_csv: parses it with given `pyarrow.csv.ConvertOptions`.
        """
        self._blocks += 1
        if self._failures >= _GIVE_UP_AFTER and self._blocks % _TRY_AGAIN_EVERY:
            return None
        table = self._convert(data, read_csv)
        columns = None if table is None else self._meant(table)
        self._failures = self._failures + 1 if columns is None else 0
        return columns

    def _convert(self, data: bytes, read_csv: Callable[[Any], pa.Table]) -> pa.Table | None:
        if "long" in self._types.values() and _has_hexadecimal(data):
            return None  # Arrow reads 0x1F as an integer
        table = self._attempt(read_csv, zoned=self._zoned)
        if table is None and "timestamptz" in self._types.values():
            table = self._attempt(read_csv, zoned=not self._zoned)
        return table

    def _attempt(self, read_csv: Callable[[Any], pa.Table], *, zoned: bool) -> pa.Table | None:
        try:
            table = read_csv(self._options(zoned=zoned))
        except pa.ArrowInvalid:
            return None
        self._zoned = zoned
        return table

    def _options(self, *, zoned: bool) -> Any:
        return pa.csv.ConvertOptions(
            column_types={name: self._wire_type(word, zoned=zoned) for name, word in self._types.items()},
            include_columns=list(self._types),
            null_values=self._null_values,
            true_values=_spellings(TRUE_WORDS),
            false_values=_spellings(FALSE_WORDS),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            check_utf8=False,  # the block has been screened
        )

    def _wire_type(self, word: str, *, zoned: bool) -> pa.DataType:
        if word in _BY_TEXT:
            return pa.string()
        return pa.timestamp("us") if word == "timestamptz" and not zoned else arrow_type(word)

    def _meant(self, table: pa.Table) -> dict[str, pa.Array] | None:
        """The columns in their types, or None when a value may have been read otherwise than we mean it."""
        columns = {}
        for name, word in self._types.items():
            values = table[name].combine_chunks()
            if word == "double" and pc.all(pc.is_finite(values)).as_py() is False:
                return None
            if pa.types.is_decimal(values.type) and not _fits(values):
                return None
            if word in _BY_TEXT:
                typed = cast_texts(values, word)
                if typed.misfits:
                    return None
                values = typed.values
            elif word == "timestamptz":
                values = values.cast(arrow_type(word))  # what carries no zone is UTC
            columns[name] = values
        return columns


def _has_hexadecimal(data: bytes) -> bool:
    """One character is looked for ten times as fast as two, and most data has neither x nor X."""
    return (b"x" in data and b"0x" in data) or (b"X" in data and b"0X" in data)


def _fits(values: pa.Array) -> bool:
    """Arrow's parser counts digits before it brings a decimal to its scale: 12345.6 passes for decimal(6,2)."""
    bounds = pc.min_max(values)
    limit = decimal.Decimal(10) ** (values.type.precision - values.type.scale)
    return all(v is None or abs(v) < limit for v in (bounds["min"].as_py(), bounds["max"].as_py()))


def _spellings(words: tuple[str, ...]) -> list[str]:
    return [s for word in words for s in dict.fromkeys((word, word.upper(), word.capitalize()))]
