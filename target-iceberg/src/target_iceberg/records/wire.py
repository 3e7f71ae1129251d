"""Arrow's JSON reader with an explicit schema, and the way from what it reads to the plan's types."""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from target_iceberg.records.columns import build, coerce
from target_iceberg.records.hazards import endangers_decimals
from target_iceberg.records.rows import NO_FIELDS, parse_value
from target_iceberg.records.scalars import compact_json, converter
from target_iceberg.records.sieve import can_be_field
from target_iceberg.records.values import ValueRefused
from target_iceberg.types import arrow_schema, decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_iceberg.load_plan import Column

_ROW = re.compile(r"in row (\d+)")
_ESCAPED_KEY = re.compile(rb'\\(?:[^"\\]|\\.)*"\s*:')
_CONVERSION = re.compile(r"Failed to convert JSON to ([a-z0-9]+)")
_STRICT = {
    "long": pa.int64(),
    "int": pa.int64(),
    "double": pa.float64(),
    "float": pa.float64(),
    "boolean": pa.bool_(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
}
_TEMPORAL = "timestamp"
# Where Arrow's reader is stricter than JSON Schema (1.0 is an integer) or gives up on a chunk for one value, a wider type is
# read and cast; the cast finds the rows.
_WIDE = {"long": ("int64", pa.float64()), "int": ("int64", pa.float64()), "timestamptz": (_TEMPORAL, pa.string())}


class Unreadable(Exception):  # noqa: N818 - tells the caller to cut the chunk, is never shown
    """The reader does not take these lines."""

    def __init__(self, row: int | None) -> None:
        super().__init__(row)
        self.row = row
        """The first row that it does not take, where it says so."""


class WireReader:
    """Reads chunks of RECORD lines of one stream."""

    def __init__(
        self,
        columns: Sequence[Column],
        decimals_as_text: bool = False,
        envelope_fields: Mapping[str, str] = NO_FIELDS,
    ) -> None:
        self._columns = list(columns)
        self._envelope_fields = {c.name: envelope_fields[c.name] for c in columns if c.name in envelope_fields}
        self._schema = arrow_schema(columns)
        self._raw = [c for c in columns if _needs_text(c, decimals_as_text)]
        self._read = [c for c in columns if c not in self._raw]
        self._without_decimals: WireReader | None = None
        if any(_holds_decimals(c) for c in self._read):
            self._without_decimals = WireReader(columns, True, envelope_fields)
        self._wide: frozenset[str] = frozenset()
        self._options = self._parse_options()
        self._raw_names = {f"f{i}": c.name for i, c in enumerate(self._raw)}
        self._raw_by_name = not all(can_be_field(c.name) for c in self._raw)
        record: Any = dict[str, msgspec.Raw]
        if not self._raw_by_name:
            fields = [(f, msgspec.Raw, msgspec.Raw(b"null")) for f in self._raw_names]
            record = msgspec.defstruct("record", fields, rename=self._raw_names)
        envelope: Any = msgspec.defstruct("envelope", [("record", record)])
        self._raw_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(envelope)
        self._raw_keys = [json.dumps(c.name, ensure_ascii=False).encode() for c in self._raw]
        self._converters = [None if c.encoding == "json" else converter(c) for c in self._raw]

    def _parse_options(self) -> pj.ParseOptions:
        record = pa.struct([pa.field(c.name, _wire_type(c, self._wide)) for c in self._read])
        around = [
            pa.field(self._envelope_fields[c.name], _wire_type(c, self._wide))
            for c in self._read
            if c.name in self._envelope_fields
        ]
        schema = pa.schema([pa.field("record", record), *around])
        return pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")

    def read(self, lines: bytes | memoryview, n_rows: int) -> tuple[pa.Table, list[int]]:
        """Table of all rows in the plan's types, and the rows in it that hold a value which was not taken, ascending.

        Raises:
            Unreadable: the lines have to be cut.
        """
        if self._without_decimals and endangers_decimals(bytes(lines)):
            return self._without_decimals.read(lines, n_rows)
        _require_utf8(lines)
        record, around = self._record(lines, n_rows)
        arrays: dict[str, pa.Array] = {}
        bad: set[int] = set()
        for i, column in enumerate(self._read):
            values = record.field(i)
            if column.name in self._envelope_fields:
                values = pc.coalesce(values, around[self._envelope_fields[column.name]].chunk(0))
            got = coerce(values, column, scalar=False)
            arrays[column.name] = got.array
            bad.update(got.bad)
        if self._raw:
            self._texts(lines, n_rows, arrays, bad)
        return pa.table([arrays[c.name] for c in self._columns], schema=self._schema), sorted(bad)

    def _record(self, lines: bytes | memoryview, n_rows: int) -> tuple[pa.StructArray, pa.Table]:
        """The record column, without NULL among its rows, and the message's fields around it."""
        while True:
            wide = self._wide
            try:
                # One block, so that no line lies across two and row numbers count from the first line.
                table = pj.read_json(
                    pa.BufferReader(pa.py_buffer(lines)),
                    parse_options=self._options,
                    read_options=pj.ReadOptions(use_threads=False, block_size=len(lines) + 1),
                )
                break
            except pa.ArrowInvalid as e:
                if not self._widen(str(e), wide):
                    m = _ROW.search(str(e))
                    raise Unreadable(int(m[1]) if m else None) from e
        column = table["record"]
        if table.num_rows != n_rows or column.null_count or column.num_chunks != 1:
            raise Unreadable(None)
        return column.chunk(0), table

    def _widen(self, message: str, wide: frozenset[str]) -> bool:
        """Read wider types from now on if that helps against this message."""
        m = _CONVERSION.search(message)
        kind = m[1] if m else None
        if kind is None or kind in wide:
            return False
        self._wide = wide | {kind}
        self._options = self._parse_options()
        return True

    def _texts(self, lines: bytes | memoryview, n_rows: int, arrays: dict[str, pa.Array], bad: set[int]) -> None:
        """Columns whose text is kept, or that Arrow's reader has no type for."""
        values: list[list[Any]] = [[] for _ in self._raw]
        for row, line in enumerate(bytes(lines).split(b"\n")[:n_rows]):
            try:
                for got, value in zip(values, self._line_texts(line), strict=True):
                    got.append(value)
            except (msgspec.DecodeError, ValueError, RecursionError):  # noqa: PERF203 - one bad line must not hide the next
                bad.add(row)
                for got in values:
                    got.append(None)
        for got, column in zip(values, self._raw, strict=True):
            arrays[column.name] = build(got, column)

    def _line_texts(self, line: bytes) -> list[Any]:
        # msgspec takes the last of two members of a name; the row path refuses both.
        if any(line.count(key) > 1 for key in self._raw_keys) or (b"\\" in line and _ESCAPED_KEY.search(line)):
            raise ValueRefused("perhaps a key twice")
        record = self._raw_decoder.decode(line).record
        if self._raw_by_name:
            null = msgspec.Raw(b"null")
            return [_text_value(record.get(c.name, null), f) for c, f in zip(self._raw, self._converters, strict=True)]
        return [_text_value(getattr(record, f), c) for f, c in zip(self._raw_names, self._converters, strict=True)]


def _text_value(raw: msgspec.Raw, convert: Any) -> Any:
    if bytes(raw) == b"null":
        return None
    if convert is None:
        return compact_json(bytes(raw))
    return convert(parse_value(bytes(raw).decode()))


def _needs_text(column: Column, decimals: bool) -> bool:
    if column.encoding == "json" or column.type == "map" or (decimals and decimal_parameters(column.type)):
        return True
    return any(_needs_text(c, decimals) for c in column.fields)


def _holds_decimals(column: Column) -> bool:
    return decimal_parameters(column.type) is not None or any(_holds_decimals(c) for c in column.fields)


def _wire_type(column: Column, wide: frozenset[str]) -> pa.DataType:
    parameters = decimal_parameters(column.type)
    if parameters:
        # Of 256 bit, so that rescaling cannot overflow: 38 digits times ten to the 38th fit.
        return pa.decimal256(38, 38) if "decimal256" in wide else pa.decimal256(*parameters)
    if column.type == "struct":
        return pa.struct([pa.field(c.name, _wire_type(c, wide)) for c in column.fields])
    if column.type == "list":
        return pa.list_(pa.field("element", _wire_type(column.fields[0], wide)))
    if column.naive is not None:  # the reader would take a value without offset for UTC
        return pa.string()
    name, wider = _WIDE.get(column.type, (None, None))
    if name in wide:
        return wider
    return _STRICT.get(column.type, pa.string())


def _require_utf8(lines: bytes | memoryview) -> None:
    """Arrow's reader takes any bytes for text."""
    offsets = pa.py_buffer(struct.pack("<qq", 0, len(lines)))
    text = pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(lines)])
    try:
        pc.cast(text, pa.large_string())
    except pa.ArrowInvalid as e:
        raise Unreadable(None) from e
