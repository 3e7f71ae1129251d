"""Arrow columns of rows in MySQL's binary protocol, a column of some thousand rows at a time.

A row is a byte 0, a bitmap of the columns that are NULL, and the values of the others one after the other: numbers in their width, dates
as their parts, all else with its length in front. So where a value stands depends on those before it in its row, but not on
other rows: each step below is done for all rows at once.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pymysql.constants import FIELD_TYPE, FLAG

from tap_kit.database.source import Sifted
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Bytes = npt.NDArray[np.uint8]
    Places = npt.NDArray[np.int64]
    """Where in the buffer something begins in each row."""
    Nulls = npt.NDArray[np.bool_] | None
    """The rows in which a column is NULL; None: in none."""

PADDING = 16
"""So many bytes behind the last row may be looked at."""
BINARY_CHARSET = 63
_INTEGERS = {
    FIELD_TYPE.TINY: 1, FIELD_TYPE.SHORT: 2, FIELD_TYPE.YEAR: 2, FIELD_TYPE.INT24: 4, FIELD_TYPE.LONG: 4, FIELD_TYPE.LONGLONG: 8,
}  # fmt: skip
_FLOATS = {FIELD_TYPE.FLOAT: 4, FIELD_TYPE.DOUBLE: 8}
_DATES = {FIELD_TYPE.DATE, FIELD_TYPE.DATETIME, FIELD_TYPE.TIMESTAMP}
_TEXTS = {FIELD_TYPE.JSON, FIELD_TYPE.DECIMAL, FIELD_TYPE.NEWDECIMAL}
"""Types of texts that may say that they are bytes."""
_UNKNOWN = {FIELD_TYPE.TIME: "TIME"}
"""Types that are not read as they are, but as texts."""
_LONGER = {0xFC: (2, "<u2"), 0xFD: (3, "<u4"), 0xFE: (8, "<u8")}
"""First byte of a length above 250 -> bytes of it that follow, and how they are read."""
_LAST_KEY = 10_000 * 16 - 1


class Field(NamedTuple):
    """A column of a result."""

    name: str
    type: int
    """FIELD_TYPE of PyMySQL."""
    flags: int
    charset: int
    decimals: int

    @property
    def is_unsigned(self) -> bool:
        """A number that is never negative."""
        return bool(self.flags & FLAG.UNSIGNED)

    @property
    def is_binary(self) -> bool:
        """Its values are bytes and no text."""
        return self.charset == BINARY_CHARSET and self.type not in _TEXTS


class Decoder:
    """Makes batches of the rows in a buffer; they hold copies, so that it can be filled again.

    Args:
        fields: the columns.
        buffer: with room for PADDING more bytes than rows are put into.
    """

    def __init__(self, fields: Sequence[Field], buffer: bytearray) -> None:
        self._fields = fields
        self._bytes: Bytes = np.frombuffer(buffer, np.uint8)
        self._values = pa.py_buffer(buffer)
        self._views: dict[str, npt.NDArray[np.generic]] = {}

    def decode(self, starts: Places, ends: Places) -> pa.RecordBatch:
        """Some rows. A column of dates is one of {value, text} where a row has a date that is none: `sift` takes it apart.

        Args:
            starts: where the contents of their packets begin, in ascending order.
            ends: where each of them ends.

        Raises:
            TapError: a text is none, a column's type is unknown, or a row has other parts than the columns say.
        """
        n_bytes = (len(self._fields) + 9) // 8
        bitmap = [self._bytes[starts + 1 + k] for k in range(n_bytes)]
        any_null = [int(np.bitwise_or.reduce(byte)) for byte in bitmap]
        at = starts + 1 + n_bytes
        columns = []
        for i, field in enumerate(self._fields):
            byte, bit = divmod(i + 2, 8)
            nulls = (bitmap[byte] & np.uint8(1 << bit)) != 0 if any_null[byte] & 1 << bit else None
            column, at = self._column(field, at, nulls)
            columns.append(column)
        if (at != ends).any():
            raise TapError("the server sends rows that are not made as its own description of their columns says")
        return pa.record_batch(columns, [f.name for f in self._fields])

    def _column(self, field: Field, at: Places, nulls: Nulls) -> tuple[pa.Array, Places]:
        """Values, and where those of the next column begin."""
        if field.type in _UNKNOWN:
            raise TapError(f"cannot read a {_UNKNOWN[field.type]}; make it a text with CAST(… AS CHAR)")
        if field.type == FIELD_TYPE.NULL:
            return pa.nulls(len(at), pa.string()), at
        if field.type in _DATES:
            return self._dates(field, at, nulls)
        if field.type not in _INTEGERS and field.type not in _FLOATS:
            return self._texts(field, at, nulls)
        width = _INTEGERS.get(field.type) or _FLOATS[field.type]
        kind = "f" if field.type in _FLOATS else "u" if field.is_unsigned else "i"
        values = self._view(f"<{kind}{width}")[at]
        wide = values.dtype if kind == "f" else np.uint64 if (kind, width) == ("u", 8) else np.int64
        with np.errstate(invalid="ignore"):  # where it is NULL stands whatever comes next
            numbers = _array(pa.from_numpy_dtype(wide), values.astype(wide, copy=False), nulls)
        return numbers, at + width if nulls is None else at + width * ~nulls

    def _view(self, form: str) -> npt.NDArray[np.generic]:
        """A number for each place of the buffer."""
        if form not in self._views:
            kind = np.dtype(form)
            shape = (len(self._bytes) - kind.itemsize + 1,)
            self._views[form] = np.ndarray(shape, kind, self._bytes, strides=(1,))
        return self._views[form]

    def _texts(self, field: Field, at: Places, nulls: Nulls) -> tuple[pa.Array, Places]:
        first = self._bytes[at]
        lengths, begins = first.astype(np.int64), at + 1
        if nulls is not None:
            lengths[nulls] = 0
            begins -= nulls
        longer = np.flatnonzero(lengths > 250)
        for mark, (width, form) in _LONGER.items() if len(longer) else ():
            rows = longer[first[longer] == mark]
            lengths[rows] = self._view(form)[at[rows] + 1] & np.uint64(256**width - 1 if width < 8 else 2**63 - 1)
            begins[rows] += width
        ends = begins + lengths
        # An array of the values and of what lies between them, of which every second one is taken.
        offsets = np.empty(2 * len(at), np.int32)
        offsets[0::2], offsets[1::2] = begins, ends
        among = pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), self._values])
        taken = among.take(pa.array(np.arange(0, len(offsets) - 1, 2, dtype=np.int32)))
        values = pa.Array.from_buffers(pa.binary(), len(at), [_validity(nulls), *taken.buffers()[1:]])
        return values if field.is_binary else _as_text(values, field), ends

    def _dates(self, field: Field, at: Places, nulls: Nulls) -> tuple[pa.Array, Places]:
        """Parts that are zero are left out at the end: a date has 0 or 4 bytes, a time of a day 7, one with microseconds 11."""
        lengths = self._bytes[at]
        if nulls is not None:
            lengths[nulls] = 0
        months, days = self._bytes[at + 3], self._bytes[at + 4] - np.uint8(1)
        key = (self._view("<u2")[at + 1].astype(np.int32) << 4) | months
        np.minimum(key, _LAST_KEY, out=key)
        is_date = (lengths >= 4) & (months < 16) & (days < _CALENDAR.lengths[key])
        values = _CALENDAR.first_days[key] + days
        kind = pa.date32()
        if field.type == FIELD_TYPE.DATE:
            values = values.astype(np.int32)
        else:
            values, kind = values * 86_400_000_000 + self._of_day(at, lengths), pa.timestamp("us")
        column = _array(kind, values, None if is_date.all() else ~is_date)
        odd = np.flatnonzero(~is_date if nulls is None else ~is_date & ~nulls)
        if len(odd):
            texts = self._texts_of_dates(field, at[odd], lengths[odd])
            mask = np.zeros(len(at), bool)
            mask[odd] = True
            spread = pc.replace_with_mask(pa.nulls(len(at), pa.string()), mask, pa.array(texts, pa.string()))
            column = pa.StructArray.from_arrays([column, spread], ["value", "text"])
        return column, at + lengths + (1 if nulls is None else ~nulls)

    def _of_day(self, at: Places, lengths: Bytes) -> Places:
        """Microseconds since midnight."""
        hours, minutes, seconds = (self._bytes[at + k].astype(np.int64) for k in (5, 6, 7))
        whole = (hours * 3600 + minutes * 60 + seconds) * 1_000_000
        micros = self._view("<u4")[at + 8].astype(np.int64)
        if (least := lengths.min(initial=11)) < 11:
            micros[lengths < 11] = 0
        if least < 7:
            whole[lengths < 7] = 0
        return whole + micros

    def _texts_of_dates(self, field: Field, at: Places, lengths: Bytes) -> list[str]:
        """As the server's CAST has them."""
        found = []
        micros = self._of_day(at, lengths)
        for i, place in enumerate(at):
            parts = bytes(self._bytes[place + 1 : place + 1 + lengths[i]]).ljust(4, b"\0")
            text = f"{int.from_bytes(parts[:2], 'little'):04}-{parts[2]:02}-{parts[3]:02}"
            if field.type != FIELD_TYPE.DATE:
                seconds, micro = divmod(int(micros[i]), 1_000_000)
                text += f" {seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
                text += f".{micro:06}"[: field.decimals + 1] if 0 < field.decimals <= 6 else ""
            found.append(text)
        return found


def sift(values: pa.Array) -> Sifted:
    """Take the dates that are none out of a column."""
    if not pa.types.is_struct(values.type):
        return Sifted(values, {})
    texts = values.field(1)
    return Sifted(values.field(0), {i: texts[i].as_py() for i in pc.indices_nonzero(pc.is_valid(texts)).to_pylist()})


class _Calendar:
    """Of each month of the years 1 to 9999, by year * 16 + month: its first day since 1970, and how many it has; other keys have none."""

    @cached_property
    def _months(self) -> tuple[npt.NDArray[np.int64], Bytes]:
        months = np.arange("0001-01", "10000-01", dtype="datetime64[M]")
        since = months.astype(np.int64) + 1970 * 12
        keys = since // 12 * 16 + since % 12 + 1
        first, lengths = np.zeros(_LAST_KEY + 1, np.int64), np.zeros(_LAST_KEY + 1, np.uint8)
        first[keys] = days = months.astype("datetime64[D]").astype(np.int64)
        lengths[keys] = (months + 1).astype("datetime64[D]").astype(np.int64) - days
        return first, lengths

    @property
    def first_days(self) -> npt.NDArray[np.int64]:
        return self._months[0]

    @property
    def lengths(self) -> Bytes:
        return self._months[1]


_CALENDAR = _Calendar()


def _array(kind: pa.DataType, values: npt.NDArray[np.generic], nulls: Nulls) -> pa.Array:
    return pa.Array.from_buffers(kind, len(values), [_validity(nulls), pa.py_buffer(values)])


def _validity(nulls: Nulls) -> pa.Buffer | None:
    return None if nulls is None else pa.py_buffer(np.packbits(~nulls, bitorder="little"))


def _as_text(values: pa.Array, field: Field) -> pa.Array:
    try:
        return pc.cast(values, pa.string())
    except pa.ArrowInvalid as e:
        raise TapError(
            f"{field.name}: a text of it is no UTF-8; give the column another type with CAST in a query"
        ) from e
