"""A digest of the rows of a table that does not depend on their order, their files or how those are encoded.

Every value has a 64-bit hash of its own kind, every row one that mixes those of its columns by field id, and the digest is
the number of rows and the sums of two hashes of each of them. So rows can be added to it and taken away from it, columns
that are NULL or not there count the same, and an int that became a long, or a float a double, keeps its hash. It shows that
rows were lost, doubled or changed; it is no defence against somebody who is out to make another table with the same digest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Collection

    import duckdb
    import numpy.typing as npt

VERSION = 1
_BITS = 64
_MASK = (1 << _BITS) - 1
_GOLDEN, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_PRESENT, _LENGTH, _KEY, _OTHER = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(0xD1B54A32D192ED03)


@dataclass(frozen=True)
class ContentDigest:
    """Of a multiset of rows."""

    rows: int = 0
    low: int = 0
    high: int = 0

    def __add__(self, other: ContentDigest) -> ContentDigest:
        return ContentDigest(self.rows + other.rows, (self.low + other.low) & _MASK, (self.high + other.high) & _MASK)

    def __sub__(self, other: ContentDigest) -> ContentDigest:
        return ContentDigest(self.rows - other.rows, (self.low - other.low) & _MASK, (self.high - other.high) & _MASK)

    def __str__(self) -> str:
        return f"{VERSION}:{self.rows}:{self.high:016x}{self.low:016x}"


def parse(text: str) -> ContentDigest | None:
    """What `str` gives; None for one that another version made."""
    version, _, rest = text.partition(":")
    rows, _, sums = rest.partition(":")
    if version != str(VERSION) or not rows.isdigit() or len(sums) != 2 * _BITS // 4:
        return None
    return ContentDigest(int(rows), int(sums[16:], 16), int(sums[:16], 16))


class RowHasher:
    """Digests batches of rows whose fields carry the field ids of a table, as those of its Parquet files do.

    Args:
        ids: field ids of the table's schema; others, of columns that it no longer has, do not count.
    """

    def __init__(self, ids: Collection[int]) -> None:
        self._ids = frozenset(ids)
        self._connection: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> RowHasher:
        return self

    def __exit__(self, *_: object) -> None:
        if self._connection is not None:
            self._connection.close()

    def digest(self, rows: pa.RecordBatch) -> ContentDigest:
        """The digest of all rows."""
        total = np.zeros(rows.num_rows, np.uint64)
        for field, column in zip(rows.schema, rows.columns, strict=True):
            total += self._of_field(column, field)
        row = _mix(total)
        # Sums wrap around, which is what is wanted of them.
        low, high = int(row.sum(dtype=np.uint64)), int(_mix(row ^ _OTHER).sum(dtype=np.uint64))
        return ContentDigest(rows.num_rows, low, high)

    def _of_field(self, array: pa.Array, field: pa.Field) -> npt.NDArray[np.uint64]:
        """What a column or member adds to each row; nothing where it is NULL."""
        field_id = int((field.metadata or {}).get(b"PARQUET:field_id", -1))
        if field_id not in self._ids:
            return np.zeros(len(array), np.uint64)
        hashes = _mix(self._values(array, field.type) ^ _mix(np.array([field_id], np.uint64)))
        return np.asarray(np.where(_valid(array), hashes, np.uint64(0)))

    def _values(self, array: pa.Array, t: pa.DataType) -> npt.NDArray[np.uint64]:
        """Hash of each value; anything where it is NULL.

        Args:
            array: the values.
            t: their type as the schema has it; that of arrays forgets the ids of members.
        """
        if pa.types.is_struct(t):
            return sum((self._of_field(array.field(i), t.field(i)) for i in range(t.num_fields)), _ones(len(array)))
        if pa.types.is_map(t):
            keys = _mix(self._of_field(array.keys, t.key_field) ^ _KEY)
            return _summed(_mix(keys + self._of_field(array.items, t.item_field)), array)
        if pa.types.is_list(t) or pa.types.is_large_list(t):
            items = self._of_field(array.values, t.value_field)
            return _summed(_mix(items + _mix(_places(array, len(items)))), array)
        array = _plain(array)
        if pa.types.is_binary(array.type):
            return self._of_bytes(array)
        if pa.types.is_decimal(array.type):
            words = np.frombuffer(array.buffers()[1] or b"", np.uint64, 2 * (array.offset + len(array))).reshape(-1, 2)
            return np.asarray(_mix(words[array.offset :, 0]) + words[array.offset :, 1])
        return np.asarray(array.fill_null(0).to_numpy().view(np.uint64))

    def _of_bytes(self, array: pa.Array) -> npt.NDArray[np.uint64]:
        """Half of the MD5 of each value, which no version of any library changes."""
        encoded = array.dictionary_encode()
        import duckdb

        self._connection = self._connection or duckdb.connect()
        self._connection.register("dictionary", pa.table([encoded.dictionary], ["v"]))
        found = self._connection.execute("SELECT md5_number_lower(v) AS h FROM dictionary").fetchnumpy()["h"]
        hashes = np.append(np.ma.filled(found, 0).astype(np.uint64), np.uint64(0))
        return np.asarray(hashes[encoded.indices.fill_null(len(found)).to_numpy(zero_copy_only=False)])


def _plain(array: pa.Array) -> pa.Array:
    """Values of a primitive type as 64-bit integers, 128-bit decimals or bytes, however they are stored."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if isinstance(array, pa.DictionaryArray):
        array = array.dictionary_decode()
    t = array.type
    if pa.types.is_decimal(t):
        return array.cast(pa.decimal128(38, t.scale))
    if pa.types.is_floating(t):
        # One NaN of the many that there are.
        numbers = array.cast(pa.float64())
        return pc.if_else(pc.is_nan(numbers), pa.scalar(float("nan")), numbers).view(pa.int64())
    if pa.types.is_date(t):
        array = array.cast(pa.date32()).cast(pa.int32())
    elif pa.types.is_timestamp(t):
        array = array.cast(pa.timestamp("us", t.tz), safe=False)
    elif pa.types.is_time(t):
        array = array.cast(pa.time64("us"), safe=False)
    is_text = any(f(t) for f in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view))
    is_bytes = any(f(t) for f in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary))
    return array.cast(pa.binary() if is_text or is_bytes else pa.int64())


def _ones(n: int) -> npt.NDArray[np.uint64]:
    """Of structs: one without any value is not NULL."""
    return np.full(n, _PRESENT)


def _valid(array: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(pc.is_valid(array).to_numpy(zero_copy_only=False))


def _mix(value: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """splitmix64: every bit of the result depends on every bit of the value."""
    value = value + _GOLDEN
    value = (value ^ (value >> np.uint64(30))) * _FIRST
    value = (value ^ (value >> np.uint64(27))) * _SECOND
    return np.asarray(value ^ (value >> np.uint64(31)))


def _places(array: pa.Array, items: int) -> npt.NDArray[np.uint64]:
    """Place of each element in its list, from 0."""
    offsets = array.offsets.to_numpy().astype(np.int64)
    starts = np.zeros(items + 1, np.int64)
    np.maximum.at(starts, offsets[:-1], offsets[:-1])
    return (np.arange(items) - np.maximum.accumulate(starts[:items])).astype(np.uint64)


def _summed(hashes: npt.NDArray[np.uint64], array: pa.Array) -> npt.NDArray[np.uint64]:
    """For each list the sum over its elements, and its length."""
    offsets = array.offsets.to_numpy().astype(np.int64)
    running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(hashes, dtype=np.uint64)))
    lengths = np.diff(offsets).astype(np.uint64)
    return np.asarray(running[offsets[1:]] - running[offsets[:-1]] + _mix(lengths ^ _LENGTH))
