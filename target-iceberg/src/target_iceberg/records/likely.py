"""Which values of a column a vectorised cast will probably take, told without casting.

Used when a column failed as a whole, to leave out the few values that made it fail. Being wrong costs time, not
correctness: the cast judges what is let through, the scalar definition what is left out.
"""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.types import arrow_type, decimal_parameters

if TYPE_CHECKING:
    from target_iceberg.load_plan import Column

_DAY = r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
_OFFSET = r"(?:Z|[+-](?:[01]\d|2[0-3])(?::?[0-5]\d)?)"
_TEXT = {
    "date": rf"\A{_DAY}(?:[T ]00:00(?::00(?:\.0+)?)?(?:Z|[+-]00:?00)?)?\z",
    "time": rf"\A{_CLOCK}(?:Z|[+-]00:?00)?\z",
    "timestamptz": rf"\A{_DAY}[T ]{_CLOCK}{_OFFSET}\z",
    "timestamp": rf"\A{_DAY}(?:[T ]{_CLOCK}(?:Z|[+-]00:?00)?)?\z",
    "uuid": r"\A[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\z",
    "binary": r"\A(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?\z",
    "decimal": r"\A[+-]?[0-9]{1,38}(?:\.[0-9]{1,38})?\z",
}


def likely(array: pa.Array, column: Column) -> pa.BooleanArray | None:
    """Boolean without NULLs, true for NULL and for what looks right; None where nothing can be said."""
    parameters = decimal_parameters(column.type)
    word = "decimal" if parameters else column.type
    if pa.types.is_string(array.type) and word in _TEXT:
        looks = pc.match_substring_regex(array, _TEXT[word])
    elif pa.types.is_floating(array.type) and word in {"long", "int"}:
        looks = _whole(array, column)
    elif pa.types.is_decimal(array.type) and parameters:
        looks = _within(array, *parameters)
    elif pa.types.is_floating(array.type) and word == "float":
        looks = pc.or_(pc.less_equal(pc.abs(array), 3.4e38), pc.invert(pc.is_finite(array)))
    else:
        return None
    return pc.fill_null(looks, True)


def _whole(array: pa.Array, column: Column) -> pa.BooleanArray:
    high = min(2.0**53 - 1, 2.0 ** (arrow_type(column).bit_width - 1) - 1)
    return pc.and_(pc.less_equal(pc.abs(array), high), pc.equal(pc.trunc(array), array))


def _within(array: pa.Array, precision: int, scale: int) -> pa.BooleanArray:
    wide = array.cast(pa.decimal256(76, array.type.scale))
    looks = pc.is_valid(wide)
    if scale < array.type.scale:
        looks = pc.equal(pc.round(wide, ndigits=scale, round_mode="towards_zero"), wide)
    if precision - scale < 76 - array.type.scale:
        bound = pa.scalar(decimal.Decimal(10) ** (precision - scale), wide.type)
        looks = pc.and_(looks, pc.less(pc.abs(wide), bound))
    return looks
