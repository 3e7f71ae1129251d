"""Whole Arrow columns into the column's type, value by value as `scalars` would.

Vector code only ever takes what the scalar definition takes, with the same result. A column that it cannot take as a
whole is halved until what it cannot take is found; those values get the scalar definition, or are reported to the caller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.records.casts import CASTS
from target_iceberg.records.likely import likely
from target_iceberg.records.scalars import compact_json, compact_jsons, converter
from target_iceberg.records.values import ValueRefused, parsed
from target_iceberg.types import arrow_schema, arrow_type, decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from target_iceberg.load_plan import Column

_SAMPLE_ROWS = 1024
_LEAF_ROWS = 32
_PARTS = 8
_UNITS_PER_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}


@dataclass
class Coerced:
    """A column in its type and the rows that do not fit; those are NULL in `array`."""

    array: pa.Array
    bad: dict[int, str] = field(default_factory=dict)
    """Row -> message without the value."""


def coerce(array: pa.Array, column: Column, scalar: bool = True) -> Coerced:
    """Bring an array to the column's Arrow type.

    Args:
        scalar: whether values that vector code cannot take get the scalar definition; without it they are reported as
            bad, for a caller who still has the text they came from.
    """
    array = _plain(array)
    wanted = arrow_type(column)
    if column.type in _NESTED and array.type.id in _NESTED_IDS[column.type]:
        return _NESTED[column.type](array, column, scalar)
    if column.encoding == "json":
        return _json(array, column, scalar)
    if array.type == wanted and not _has_more_values(wanted, scalar):
        return Coerced(array)
    if pa.types.is_null(array.type):
        return Coerced(nulls(len(array), column))
    word = "decimal" if decimal_parameters(column.type) else column.type
    return _cast(array, column, CASTS.get(word, _no_cast), scalar)


def _has_more_values(t: pa.DataType, from_batch: bool) -> bool:
    """Whether an array of this very type may hold what no column should: years beyond 9999, more digits, text that is not UTF-8."""
    return bool(pa.types.is_temporal(t) or pa.types.is_decimal(t) or (from_batch and pa.types.is_string(t)))


def build(values: Sequence[Any], column: Column) -> pa.Array:
    """Array of the column's type from what its scalar converter gave, None for NULL."""
    return pa.array(values, _storage(arrow_type(column))).cast(arrow_type(column))


def empty_table(columns: Sequence[Column]) -> pa.Table:
    """No rows; `Schema.empty_table` cannot do it with extension types inside of nested ones."""
    return pa.table([build([], c) for c in columns], schema=arrow_schema(columns))


def nulls(n_rows: int, column: Column) -> pa.Array:
    """NULLs of the column's type."""
    wanted = arrow_type(column)
    return pa.nulls(n_rows, _storage(wanted)).cast(wanted)


def _storage(t: pa.DataType) -> pa.DataType:
    """The type without extension types, which PyArrow cannot build inside of nested ones."""
    if isinstance(t, pa.BaseExtensionType):
        return t.storage_type
    if pa.types.is_struct(t):
        return pa.struct([f.with_type(_storage(f.type)) for f in t])
    if pa.types.is_list(t):
        return pa.list_(t.value_field.with_type(_storage(t.value_type)))
    if pa.types.is_map(t):
        return pa.map_(_storage(t.key_type), _storage(t.item_type))
    return t


def _plain(array: pa.Array) -> pa.Array:
    """Without dictionaries, views and 64-bit offsets, whose values mean the same."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks() if array.num_chunks != 1 else array.chunk(0)
        if isinstance(array, pa.ChunkedArray):  # more than 2 GB of text does not fit one array
            raise pa.ArrowInvalid("more than 2 GB in one column of a batch; send smaller batches")
    t = array.type
    if pa.types.is_dictionary(t):
        return _plain(array.dictionary_decode())
    if pa.types.is_large_string(t) or pa.types.is_string_view(t):
        return array.cast(pa.string())
    if pa.types.is_large_binary(t) or pa.types.is_binary_view(t):
        return array.cast(pa.binary())
    return array


def _no_cast(array: pa.Array, column: Column) -> pa.Array:
    raise pa.ArrowInvalid(f"no cast from {array.type} to {column.type}")


def _cast(array: pa.Array, column: Column, cast: Callable[[pa.Array, Column], pa.Array], scalar: bool) -> Coerced:
    try:
        return Coerced(cast(array, column))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        fits = likely(array, column) if len(array) > _LEAF_ROWS else None
    if fits is not None and fits.true_count > 0:
        try:
            taken = cast(pc.if_else(fits, array, pa.scalar(None, array.type)), column)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            pass  # something looks right and is not, e.g. 2026-02-30: halve
        else:
            return _completed(taken, array, np.flatnonzero(~fits.to_numpy(zero_copy_only=False)), column, scalar)
    return _halved(array, column, cast, scalar)


def _halved(array: pa.Array, column: Column, cast: Callable[[pa.Array, Column], pa.Array], scalar: bool) -> Coerced:
    if scalar and len(array) <= _LEAF_ROWS:
        return _each(array, column)
    if len(array) <= 1:
        return _all_bad(array, column)
    step = -(-len(array) // _PARTS)
    return _joined([_cast(array.slice(i, step), column, cast, scalar) for i in range(0, len(array), step)])


def _completed(taken: pa.Array, array: pa.Array, rest: Any, column: Column, scalar: bool) -> Coerced:
    """A column whose values at `rest` were left out."""
    if not scalar:
        return Coerced(taken, dict.fromkeys(rest.tolist(), ""))
    each = _each(array.take(pa.array(rest)), column)
    order = np.arange(len(array))
    order[rest] = len(array) + np.arange(len(rest))
    return Coerced(
        pa.concat_arrays([taken, each.array]).take(pa.array(order)), {int(rest[i]): m for i, m in each.bad.items()}
    )


def _joined(parts: Iterable[Coerced]) -> Coerced:
    arrays, bad, at = [], {}, 0
    for part in parts:
        arrays.append(part.array)
        bad.update({at + i: m for i, m in part.bad.items()})
        at += len(part.array)
    return Coerced(pa.concat_arrays(arrays), bad)


def _each(array: pa.Array, column: Column) -> Coerced:
    """Scalar definition for every value."""
    convert = converter(column)
    return _by_value(array, lambda value: convert(parsed(value)), column)


def _by_value(array: pa.Array, convert: Callable[[Any], Any], column: Column) -> Coerced:
    bad: dict[int, str] = {}
    return Coerced(build([_value(array, i, convert, bad) for i in range(len(array))], column), bad)


def _value(array: pa.Array, row: int, convert: Callable[[Any], Any], bad: dict[int, str]) -> Any:
    """Converted value of a row, None if it is NULL or noted as bad."""
    try:
        value = _python_value(array[row])
        return None if value is None else convert(value)
    except ValueRefused as e:
        bad[row] = str(e)
    except (ValueError, OverflowError):  # e.g. a date after the year 9999, which Python cannot hold
        bad[row] = "outside the years 1 to 9999" if pa.types.is_temporal(array.type) else "cannot be read"
    return None


def _python_value(scalar: pa.Scalar) -> Any:
    # PyArrow shows a time of day beyond midnight as one of the next day.
    if pa.types.is_time(scalar.type) and scalar.is_valid and not 0 <= scalar.value < _UNITS_PER_DAY[scalar.type.unit]:
        raise ValueRefused("no such time of day")
    return scalar.as_py()


def _json(array: pa.Array, column: Column, scalar: bool) -> Coerced:
    """A column of JSON text: text is taken to be JSON already, anything else is written as JSON."""
    if pa.types.is_string(array.type):
        compacted = _compacted(array)
        if compacted is not None:
            return Coerced(compacted)
        return _by_value(array, compact_json, column)  # to learn which values are none
    return _each(array, column) if scalar else _all_bad(array, column)


def _compacted(array: pa.Array) -> pa.Array | None:
    """JSON texts without spaces between their tokens; None: one of them is no JSON."""
    sample = array.slice(0, _SAMPLE_ROWS)
    if len(array) > _SAMPLE_ROWS and pc.count_distinct(sample).as_py() <= _SAMPLE_ROWS // 2:
        encoded = array.dictionary_encode()  # each text once, since each costs Python's attention
        made = _compacted_each(encoded.dictionary)
        return None if made is None else made.take(encoded.indices)
    return _compacted_each(array)


def _compacted_each(array: pa.Array) -> pa.Array | None:
    made = compact_jsons(array.to_pylist())
    return None if made is None else pa.array(made, pa.string())


def _all_bad(array: pa.Array, column: Column) -> Coerced:
    return Coerced(nulls(len(array), column), dict.fromkeys(range(len(array)), ""))


def _struct(array: pa.Array, column: Column, scalar: bool) -> Coerced:
    children: list[pa.Array] = []
    bad: dict[int, str] = {}
    members = dict(
        zip(array.type.names, array.flatten(), strict=True)
    )  # NULL where the struct is, whatever lies beneath
    for member in column.fields:
        child = members[member.name] if member.name in members else nulls(len(array), member)
        got = coerce(child, member, scalar)
        children.append(got.array)
        bad.update({i: f"{member.name}: {m}" for i, m in got.bad.items() if i not in bad})
    mask = array.is_null() if array.null_count else None
    return Coerced(pa.StructArray.from_arrays(children, fields=list(arrow_type(column)), mask=mask), bad)


def _list(array: pa.Array, column: Column, scalar: bool) -> Coerced:
    if not pa.types.is_list(array.type):
        array = array.cast(pa.list_(array.type.value_field))
    offsets = array.offsets.to_numpy()
    inner = array.values.slice(offsets[0], offsets[-1] - offsets[0])
    got = coerce(inner, column.fields[0], scalar)
    moved = pa.array(offsets - offsets[0], pa.int32())
    mask = pc.invert(array.is_valid()) if array.null_count else None
    result = pa.ListArray.from_arrays(moved, got.array, type=arrow_type(column), mask=mask)
    return Coerced(result, _parents(array, offsets - offsets[0], got.bad, "element"))


def _map(array: pa.Array, column: Column, scalar: bool) -> Coerced:
    offsets = array.offsets.to_numpy()
    part = slice(offsets[0], offsets[-1])
    keys = coerce(array.keys[part], column.fields[0], scalar)
    items = coerce(array.items[part], column.fields[1], scalar)
    moved = pa.array(offsets - offsets[0], pa.int32())
    mask = pc.invert(array.is_valid()) if array.null_count else None
    # A key that does not fit would be a NULL key, which no map can hold; the row is bad, so any key does.
    filled = keys.array if not keys.array.null_count else pc.fill_null(keys.array, _any_value(keys.array.type))
    result = pa.MapArray.from_arrays(moved, filled, items.array, type=arrow_type(column), mask=mask)
    relative = offsets - offsets[0]
    return Coerced(
        result, {**_parents(array, relative, items.bad, "value"), **_parents(array, relative, keys.bad, "key")}
    )


def _any_value(t: pa.DataType) -> pa.Scalar:
    return pa.scalar("" if pa.types.is_string(t) else 0, t)


def _parents(array: pa.Array, offsets: Any, bad: dict[int, str], what: str) -> dict[int, str]:
    if not bad:
        return {}
    rows = np.searchsorted(offsets, np.fromiter(bad, np.int64), side="right") - 1
    found: dict[int, str] = {}
    for row, message in zip(rows.tolist(), bad.values(), strict=True):
        if array[row].is_valid:
            found.setdefault(row, f"{what}: {message}" if message else "")
    return found


_NESTED = {"struct": _struct, "list": _list, "map": _map}
_NESTED_IDS = {
    "struct": {pa.struct([]).id},
    "list": {pa.list_(pa.null()).id, pa.large_list(pa.null()).id, pa.list_(pa.null(), 1).id},
    "map": {pa.map_(pa.string(), pa.null()).id},
}
