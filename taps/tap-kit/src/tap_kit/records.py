"""Arrow tables as RECORD lines, a column at a time as long as possible."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tap_kit.columns import type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from tap_kit.lanes import Misfit


_ODD_NAME = re.compile(r'[\\"\x00-\x1f]')
"""What msgspec does not take as a field's name."""
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
"""As JSON has it."""
_WHOLE = re.compile(r"-?\d+")


class RecordEncoder:
    """Encodes rows of one stream as `{"type":"RECORD","stream":…,"record":{…}}`, NULLs included.

    Timestamps with a zone end in Z, those without have none; decimals keep every digit, as a JSON number when the
    schema's type says number and as a string otherwise. In the columns of `json_columns` texts are JSON and become part
    of the record; one that is no JSON stays a string.
    """

    def __init__(self, stream: str, schema: Mapping[str, Any], json_columns: Collection[str] = ()) -> None:
        self._envelope = msgspec.defstruct(
            "Record", [("type", str), ("stream", str), ("record", Any)], gc=False, frozen=True
        )
        self._stream = stream
        self._json_columns = json_columns
        self._decimal_texts = {name for name, p in schema["properties"].items() if not _says_number(p)}
        self._numbers = {name for name, p in schema["properties"].items() if type_of(p) in ("long", "double")}
        self._encoder = msgspec.json.Encoder(decimal_format="number")
        self._rows: dict[tuple[str, ...], Any] = {}

    def encode(self, rows: pa.Table) -> bytes:
        """All rows as lines."""
        columns = [self._values(rows, name) for name in rows.column_names]
        records: Iterable[Any]
        if _ODD_NAME.search("".join(rows.column_names)):
            records = (dict(zip(rows.column_names, values, strict=True)) for values in zip(*columns, strict=True))
        else:
            records = map(self._row_type(tuple(rows.column_names)), *columns)
        stream, envelope = self._stream, self._envelope
        return self._encoder.encode_lines([envelope("RECORD", stream, record) for record in records])

    def encode_misfits(self, rows: pa.Table, misfits: Sequence[Misfit]) -> bytes:
        """The rows of the misfits as lines, with the source's text where a value does not fit.

        A text that is a number stays one where a number is wanted, so that the target can say why this one does not fit.
        """
        chosen = rows.take([m.row for m in misfits])
        columns = [self._values(chosen, name) for name in chosen.column_names]
        records = (dict(zip(chosen.column_names, values, strict=True)) for values in zip(*columns, strict=True))
        stream, envelope = self._stream, self._envelope
        return self._encoder.encode_lines(
            [envelope("RECORD", stream, {**r, **self._told(m.texts)}) for r, m in zip(records, misfits, strict=True)]
        )

    def _told(self, texts: Mapping[str, str]) -> dict[str, Any]:
        return {
            name: msgspec.Raw(text.encode()) if name in self._numbers and _is_number(text) else text
            for name, text in texts.items()
        }

    def _row_type(self, names: tuple[str, ...]) -> Any:
        """A msgspec struct with these columns: made and encoded without any Python per value."""
        if names not in self._rows:
            fields = [(f"f{position}", Any) for position in range(len(names))]
            rename = {f"f{position}": name for position, name in enumerate(names)}
            self._rows[names] = msgspec.defstruct("Row", fields, rename=rename, gc=False)
        return self._rows[names]

    def _values(self, rows: pa.Table, name: str) -> list[Any]:
        values = rows[name]
        if pa.types.is_decimal(values.type) and name in self._decimal_texts:
            return python_values(pc.cast(values, pa.string()))
        if name in self._json_columns:
            return [_embedded(text) for text in python_values(values)]
        return python_values(values)


def _is_number(text: str) -> bool:
    """Whether it may stand in JSON as it is: not a fraction that a double forgets, so that it would be taken for a whole number."""
    if not _NUMBER.fullmatch(text):
        return False
    number = float(text)
    return bool(_WHOLE.fullmatch(text)) or not number.is_integer() or abs(number) >= 2.0**53


def _embedded(text: str | None) -> msgspec.Raw | str | None:
    """A JSON text as what it says."""
    if text is None:
        return None
    try:
        msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return msgspec.Raw(text.encode())


def python_values(values: pa.ChunkedArray) -> list[Any]:
    """A column as Python objects that JSON can hold; much faster than `to_pylist` for plain types."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        text = pc.replace_substring(pc.cast(pc.cast(values, pa.timestamp("us")), pa.string()), " ", "T")
        return python_values(pc.binary_join_element_wise(text, "Z", "") if kind.tz else text)
    if pa.types.is_date(kind) or pa.types.is_time(kind):
        return python_values(pc.cast(values, pa.string()))
    if pa.types.is_string(kind):
        return values.to_numpy().tolist()  # type: ignore[no-any-return]
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return _numbers(values)
    return values.to_pylist()  # type: ignore[no-any-return]


def _numbers(values: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_floating(values.type) and pc.all(pc.is_finite(values)).as_py() is False:
        # JSON has no such numbers; as texts, targets that know them take them back.
        return [_number_or_name(v) for v in values.to_pylist()]
    if not values.null_count:
        return values.to_numpy().tolist()  # type: ignore[no-any-return]
    zero = pa.scalar(0).cast(values.type) if not pa.types.is_boolean(values.type) else pa.scalar(False)
    numbers = pc.fill_null(values, zero).to_numpy().tolist()
    for position in np.flatnonzero(pc.is_null(values).to_numpy()):
        numbers[position] = None
    return numbers  # type: ignore[no-any-return]


def _number_or_name(value: float | None) -> float | str | None:
    if value is None or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _says_number(definition: Mapping[str, Any]) -> bool:
    kinds = definition.get("type")
    return kinds == "number" or (isinstance(kinds, list) and "number" in kinds)
