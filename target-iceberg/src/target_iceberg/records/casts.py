"""Vectorised casts by target type; each takes only what the scalar definition takes and raises ArrowInvalid otherwise."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.load_plan import Column
from target_iceberg.records.clock import DAY_MICROSECONDS, FIRST_MICROSECOND, LAST_MICROSECOND, REJECT
from target_iceberg.types import arrow_type, decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

_UTC = pa.timestamp("us", tz="UTC")
_NAIVE = pa.timestamp("us")
_UTC_NAMES = frozenset({"UTC", "Etc/UTC", "Z", "+00:00", "GMT"})
_END_OF_ZONE_TABLES = pa.scalar(dt.datetime(2037, 1, 1), _NAIVE)  # noqa: DTZ001  a wall clock
_EXACT_FLOAT = 2.0**53
_MIDNIGHT = r"^(\d{4}-\d{2}-\d{2})[T ]00(?::00(?::00(?:\.0+)?)?)?(?:Z|[+-]00(?::?00)?)?$"
_SHORT_DECIMAL = r"\A[+-]?[0-9]{1,38}(?:\.[0-9]{1,38})?\z"
_HAS_OFFSET = r"[Tt ][^Zz+-]*(?:[Zz]|[+-]\d{2}(?::?\d{2})?)\z"
_ZERO_OFFSET = r"(?:Z|[+-]00(?::?00)?)$"


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise pa.ArrowInvalid(what)


def _numeric(t: pa.DataType) -> bool:
    return bool(pa.types.is_integer(t) or pa.types.is_floating(t) or pa.types.is_decimal(t))


def _integer(array: pa.Array, column: Column) -> pa.Array:
    _require(_numeric(array.type), "not numbers")
    if pa.types.is_floating(array.type):
        # From 2**53 on a double no longer says which whole number was written.
        limits = pc.min_max(array)
        low, high = limits["min"].as_py(), limits["max"].as_py()
        _require(low is None or max(-low, high) < _EXACT_FLOAT, "not exact")
    if pa.types.is_decimal(array.type):
        _require_below(array, 19)
        array = array.cast(pa.decimal256(76, array.type.scale)).cast(pa.decimal256(76, 0))
        return array.cast(pa.int64()).cast(arrow_type(column))
    return array.cast(arrow_type(column))


def _double(array: pa.Array, column: Column) -> pa.Array:
    _require(_numeric(array.type), "not numbers")
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())  # Arrow's own cast is off by a last digit at times
    return array.cast(arrow_type(column), safe=False)


def _float(array: pa.Array, _column: Column) -> pa.Array:
    _require(_numeric(array.type), "not numbers")
    if pa.types.is_decimal(array.type):
        array = array.cast(pa.string())
    doubles = array.cast(pa.float64(), safe=False)
    singles = doubles.cast(pa.float32(), safe=False)
    overflow = pc.and_(pc.is_inf(singles), pc.is_finite(doubles))
    _require(not pc.any(overflow).as_py(), "beyond single precision")
    return singles


def _decimal(array: pa.Array, column: Column) -> pa.Array:
    parameters = decimal_parameters(column.type)
    assert parameters  # CASTS is looked up by the word of the type
    precision, scale = parameters
    if pa.types.is_floating(array.type):
        array = array.cast(pa.string())  # the shortest digits that mean the float, as JSON would have carried them
    if pa.types.is_string(array.type):
        # Arrow reads beyond its tables for text of many places, see hazards; so only what is short gets there.
        _require(pc.all(pc.match_substring_regex(array, _SHORT_DECIMAL)).as_py() is not False, "not plain decimals")
        array = array.cast(pa.decimal256(76, 38))
    if pa.types.is_integer(array.type):
        array = array.cast(pa.decimal128(20, 0))
    _require(pa.types.is_decimal(array.type), "not decimals")
    if array.type == arrow_type(column):  # which says nothing about the values
        _require_below(array, precision - scale)
        return array
    array = array.cast(pa.decimal256(76, array.type.scale))
    # Bounds first: Arrow multiplies when it rescales, and where that overflows it may not notice.
    _require_below(array, precision - scale)
    return array.cast(pa.decimal256(76, scale)).cast(pa.decimal128(precision, scale))


def _require_below(array: pa.Array, digits: int) -> None:
    """Every value of a decimal array has at most so many digits before the point."""
    limits = pc.min_max(array)
    low, high = limits["min"].as_py(), limits["max"].as_py()
    bound = decimal.Decimal(10) ** digits
    _require(low is None or (-bound < low and high < bound), "too many digits before the point")


def _string(array: pa.Array, _column: Column) -> pa.Array:
    _require(pa.types.is_string(array.type), "not text")
    return array.cast(pa.binary()).cast(pa.string())  # which looks whether it is UTF-8, and copies nothing


def _boolean(array: pa.Array, column: Column) -> pa.Array:
    _require(pa.types.is_boolean(array.type), "not booleans")
    return array.cast(arrow_type(column))


def _date(array: pa.Array, _column: Column) -> pa.Array:
    t = array.type
    if pa.types.is_timestamp(t):
        _require(t.tz is None or t.tz in _UTC_NAMES, "an offset")
        days = array.cast(pa.timestamp(t.unit)).cast(pa.date32(), safe=False)
        _require(
            pc.all(pc.equal(days.cast(pa.timestamp(t.unit)), array.cast(pa.timestamp(t.unit)))).as_py() is not False,
            "a time of day",
        )
        return _in_years(days)
    if pa.types.is_string(t):
        try:
            return _in_years(array.cast(pa.date32()))
        except pa.ArrowInvalid:
            return _in_years(pc.replace_substring_regex(array, _MIDNIGHT, r"\1").cast(pa.date32()))
    _require(pa.types.is_date(t), "not dates")
    return _in_years(array.cast(pa.date32()))


def _time(array: pa.Array, _column: Column) -> pa.Array:
    t = array.type
    if pa.types.is_string(t):
        _require(
            pc.all(pc.match_substring_regex(array, r"^\d{2}:\d{2}(:\d{2}(\.\d+)?)?" + _ZERO_OFFSET[:-1] + "?$")).as_py()
            is not False,
            "not times",
        )
        bare = _cut_fraction(pc.replace_substring_regex(array, _ZERO_OFFSET, ""))
        moments = pc.binary_join_element_wise("1970-01-01T", bare, "").cast(_NAIVE)
        return moments.cast(pa.int64()).cast(pa.time64("us"))
    _require(pa.types.is_time(t), "not times")
    times = array.cast(pa.time64("us"), safe=False)
    limits = pc.min_max(times.cast(pa.int64()))
    low, high = limits["min"].as_py(), limits["max"].as_py()
    _require(low is None or (low >= 0 and high < DAY_MICROSECONDS), "not within a day")
    return times


def _cut_fraction(array: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(array, r"(\.\d{6})\d+", r"\1")


def _timestamptz(array: pa.Array, column: Column) -> pa.Array:
    if column.naive is not None:
        return _with_zone_of_contract(array, column.naive)
    t = array.type
    if pa.types.is_timestamp(t):
        return _in_years(array.cast(pa.timestamp("us", tz=t.tz), safe=t.unit != "ns").cast(_UTC))
    if pa.types.is_date(t):
        return _in_years(array.cast(pa.date32()).cast(_NAIVE)).cast(_UTC)
    _require(pa.types.is_string(t), "not timestamps")
    try:
        return _in_years(array.cast(_UTC))
    except pa.ArrowInvalid:
        bare = _cut_fraction(array)
    try:
        return _in_years(bare.cast(_UTC))
    except pa.ArrowInvalid:
        return _in_years(bare.cast(_NAIVE)).cast(_UTC)


def _with_zone_of_contract(array: pa.Array, zone: str) -> pa.Array:
    """Values with an offset as they are; those without are in the zone, or are not taken."""
    t = array.type
    plain = Column(name="", type="timestamptz")
    if pa.types.is_timestamp(t) and t.tz is not None:
        return _timestamptz(array, plain)
    if not pa.types.is_string(t):
        _require(pa.types.is_timestamp(t) or pa.types.is_date(t), "not timestamps")
        has_offset = pa.repeat(False, len(array))
        walls = array
    else:
        has_offset = pc.fill_null(pc.match_substring_regex(array, _HAS_OFFSET), True)
        walls = pc.if_else(has_offset, pa.scalar(None, t), array)
    _require(zone != REJECT or walls.null_count == len(walls), "no offset")
    local = _timestamptz(walls, plain).cast(_NAIVE)  # as if they were UTC
    # Arrow knows the rules of zones as far as the tables of changes reach, which end there.
    _require(
        pc.any(pc.greater_equal(local, _END_OF_ZONE_TABLES)).as_py() is not True, "beyond the tables of time zones"
    )
    moments = _in_years(pc.assume_timezone(local, zone, ambiguous="earliest", nonexistent="raise").cast(_UTC))
    if not pa.types.is_string(t):
        return moments
    zoned = _timestamptz(pc.if_else(has_offset, array, pa.scalar(None, t)), plain)
    return pc.if_else(has_offset, zoned, moments)


def _timestamp(array: pa.Array, _column: Column) -> pa.Array:
    t = array.type
    if pa.types.is_timestamp(t):
        _require(t.tz is None or t.tz in _UTC_NAMES, "an offset")
        return _in_years(array.cast(pa.timestamp("us", tz=t.tz), safe=t.unit != "ns").cast(_NAIVE))
    if pa.types.is_date(t):
        return _in_years(array.cast(pa.date32()).cast(_NAIVE))
    _require(pa.types.is_string(t), "not timestamps")
    try:
        return _in_years(array.cast(_NAIVE))
    except pa.ArrowInvalid:
        # A date keeps its last two digits: 2020-01-00 is none, but only what has a time may lose an offset.
        timed = pc.match_substring_regex(array, r"[T ]\d{2}")
        bare = pc.if_else(timed, pc.replace_substring_regex(array, _ZERO_OFFSET, ""), array)
        return _in_years(_cut_fraction(bare).cast(_NAIVE))


def _in_years(array: pa.Array) -> pa.Array:
    """The array, if it lies within the years 1 to 9999, which all readers can hold."""
    unit, width = (DAY_MICROSECONDS, pa.int32()) if pa.types.is_date(array.type) else (1, pa.int64())
    limits = pc.min_max(array.cast(width))
    low, high = limits["min"].as_py(), limits["max"].as_py()
    _require(
        low is None or (low * unit >= FIRST_MICROSECOND and high * unit <= LAST_MICROSECOND),
        "outside the years 1 to 9999",
    )
    return array


_HEX = np.full(256, 255, np.uint8)
for _i, _c in enumerate(b"0123456789abcdef"):
    _HEX[_c] = _i
for _i, _c in enumerate(b"ABCDEF"):
    _HEX[_c] = 10 + _i
_HYPHENS = (8, 13, 18, 23)


def _uuid(array: pa.Array, _column: Column) -> pa.Array:
    if pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == 16:
        return array.cast(pa.uuid())
    _require(pa.types.is_string(array.type), "not UUIDs")
    filled = pc.fill_null(array, "00000000-0000-0000-0000-000000000000")
    _require(pc.all(pc.equal(pc.binary_length(filled), 36)).as_py() is not False, "not UUIDs with hyphens")
    text = _bytes_of(filled).reshape(len(array), 36)
    _require(bool((text[:, _HYPHENS] == ord("-")).all()), "not UUIDs")
    digits = _HEX[np.delete(text, _HYPHENS, axis=1)]
    _require(not (digits == 255).any(), "not UUIDs")
    data = (digits[:, 0::2] << 4 | digits[:, 1::2]).astype(np.uint8)
    values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(array), [None, pa.py_buffer(data.tobytes())])
    if array.null_count:
        values = pc.if_else(array.is_valid(), values, pa.scalar(None, pa.binary(16)))
    return values.cast(pa.uuid())


def _bytes_of(array: pa.Array) -> Any:
    """Character bytes of a string array without NULLs, as uint8."""
    offsets = np.frombuffer(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    if array.buffers()[2] is None:
        return np.empty(0, np.uint8)
    return np.frombuffer(array.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]


def _binary(array: pa.Array, _column: Column) -> pa.Array:
    if pa.types.is_string(array.type):
        try:
            return pa.array(
                [None if v is None else base64.b64decode(v, validate=True) for v in array.to_pylist()], pa.binary()
            )
        except ValueError as e:
            raise pa.ArrowInvalid("not base64") from e
    _require(pa.types.is_binary(array.type) or pa.types.is_fixed_size_binary(array.type), "not binary")
    return array.cast(pa.binary())


CASTS: dict[str, Callable[[pa.Array, Column], pa.Array]] = {
    "long": _integer,
    "int": _integer,
    "double": _double,
    "float": _float,
    "decimal": _decimal,
    "boolean": _boolean,
    "string": _string,
    "date": _date,
    "time": _time,
    "timestamptz": _timestamptz,
    "timestamp": _timestamp,
    "uuid": _uuid,
    "binary": _binary,
}
"""Cast by `Column.type`; an Arrow type that has nothing in common with the column's raises ArrowInvalid."""
