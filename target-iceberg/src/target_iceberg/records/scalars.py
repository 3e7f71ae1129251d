"""What one value means: the single definition of every type, which the vectorised code has to agree with.

A converter takes a parsed JSON value (text, `Number`, bool, dict, list; never None) and gives what `pyarrow.array` takes for
the column's Arrow type: dates as days, times and timestamps as microseconds. What it cannot take it refuses with
`ValueRefused`; the message names the problem and never the value.
"""

from __future__ import annotations

import base64
import binascii
import decimal
import json
import math
import re
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from target_iceberg.records import clock
from target_iceberg.records.values import Members, Number, TooDeep, ValueRefused, kind_of, text_of
from target_iceberg.types import decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_iceberg.load_plan import Column

    Converter = Callable[[Any], Any]


_INT_RANGE = {"long": (-(2**63), 2**63 - 1), "int": (-(2**31), 2**31 - 1)}
_INTEGER = re.compile(r"-?\d+", re.ASCII)
_MAX_INTEGER_DIGITS = 40
_DECIMAL = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_SPECIAL_FLOATS = {"NaN": math.nan, "-NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_FLOAT32_MAX = 3.4028235677973366e38
"""From here on, exclusive, rounding to single precision gives infinity."""
_UUID = re.compile(r"[0-9a-fA-F]{32}|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def converter(column: Column) -> Converter:
    """The function that turns a parsed value into one of the column's type."""
    parameters = decimal_parameters(column.type)
    if parameters:
        return _decimal(*parameters)
    if column.encoding == "json":
        return json_text
    if column.naive is not None:
        return clock.timestamptz_in(column.naive)
    nested = {"struct": _struct, "list": _list, "map": _map}
    return nested[column.type](column) if column.type in nested else _SIMPLE[column.type]


def _string(value: Any) -> str:
    text = text_of(value, "text")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise ValueRefused("the text holds half of a surrogate pair") from e
    return text


def _integer(word: str) -> Converter:
    low, high = _INT_RANGE[word]
    bits = high.bit_length() + 1

    def convert(value: Any) -> int:
        if not isinstance(value, Number):
            raise ValueRefused(f"expected a whole number, got {kind_of(value)}")
        whole = _digits(value.text, bits) if _INTEGER.fullmatch(value.text) else _whole_double(value.text)
        if not low <= whole <= high:
            raise ValueRefused(f"beyond {bits} bits")
        return whole

    return convert


def _digits(text: str, bits: int) -> int:
    # Python refuses to read more than 4,300 digits, and takes its time with fewer.
    if len(text) > _MAX_INTEGER_DIGITS:
        raise ValueRefused(f"beyond {bits} bits")
    return int(text)


def _whole_double(text: str) -> int:
    """A number with a point or an exponent is a double; from 2**53 on a double no longer says which whole number it means."""
    number = float(_SPECIAL_FLOATS.get(text, text))
    if not math.isfinite(number):
        raise ValueRefused("expected a whole number, got one beyond all bounds or none")
    if not number.is_integer():
        raise ValueRefused("expected a whole number, got a fraction")
    if abs(number) >= 2.0**53:
        raise ValueRefused("a whole number of this size must be written with all its digits")
    return int(number)


def _double(value: Any) -> float:
    if isinstance(value, str) and value in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value]
    if not isinstance(value, Number):
        raise ValueRefused(f"expected a number, got {kind_of(value)}")
    if value.text in _SPECIAL_FLOATS:
        return _SPECIAL_FLOATS[value.text]
    number = float(value.text)
    if math.isinf(number):
        raise ValueRefused("beyond the range of a double")
    return number


def _float(value: Any) -> float:
    number = _double(value)
    if math.isfinite(number) and abs(number) >= _FLOAT32_MAX:
        raise ValueRefused("beyond the range of a single precision number")
    return number


def _decimal(precision: int, scale: int) -> Converter:
    context = decimal.Context(prec=2 * precision + 2, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)
    unit = decimal.Decimal(1).scaleb(-scale)

    def convert(value: Any) -> decimal.Decimal:
        text = value.text if isinstance(value, Number) else value
        if not isinstance(text, str):
            raise ValueRefused(f"expected a decimal number, got {kind_of(value)}")
        if _DECIMAL.fullmatch(text) is None:
            raise ValueRefused("not a decimal number")
        try:
            number = decimal.Decimal(text)
        except decimal.InvalidOperation as e:
            raise ValueRefused("not a decimal number") from e
        if number and number.adjusted() >= precision - scale:
            raise ValueRefused(f"more than {precision - scale} digits before the point")
        if number and number.adjusted() < -scale:
            raise ValueRefused(f"more than {scale} digits after the point")
        # Zeros beyond the scale are fine, other digits are not; exact arithmetic tells which they are.
        exact = (
            number.quantize(unit, context=decimal.Context(prec=len(text) + 2 * precision + 2)) if number else unit * 0
        )
        if exact != number:
            raise ValueRefused(f"more than {scale} digits after the point")
        return context.plus(exact)

    return convert


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueRefused(f"expected true or false, got {kind_of(value)}")
    return value


def _uuid(value: Any) -> bytes:
    text = text_of(value, "a UUID")
    if _UUID.fullmatch(text) is None:
        raise ValueRefused("not a UUID")
    return uuid.UUID(text).bytes


def _binary(value: Any) -> bytes:
    try:
        return base64.b64decode(text_of(value, "base64 text"), validate=True)
    except (binascii.Error, ValueError) as e:
        if isinstance(e, ValueRefused):
            raise
        raise ValueRefused("not base64") from e


def json_text(value: Any) -> str:
    """Compact JSON text of a parsed value, its numbers digit by digit as they came."""
    if isinstance(value, Number):
        if value.text in _SPECIAL_FLOATS:
            raise ValueRefused("NaN and Infinity are not JSON")
        return value.text
    if isinstance(value, Members):
        if value.twice:
            raise ValueRefused("a key comes twice")
        return "{" + ",".join(f"{_json_string(k)}:{json_text(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, str):
        return _json_string(value)
    if isinstance(value, TooDeep):
        raise ValueRefused("nested too deeply")
    return "null" if value is None else "true" if value else "false"


def _json_string(text: str) -> str:
    return json.dumps(_string(text), ensure_ascii=False)


def _inner(column: Column) -> Converter:
    convert = converter(column)

    def inner(value: Any) -> Any:
        if value is None:
            return None
        try:
            return convert(value)
        except ValueRefused as e:
            raise ValueRefused(f"{column.name}: {e}") from e

    return inner


def _struct(column: Column) -> Converter:
    members = [(c.name, _inner(c)) for c in column.fields]
    names = frozenset(name for name, _ in members)

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, Members):
            raise ValueRefused(f"expected an object, got {kind_of(value)}")
        if value.twice & names:
            raise ValueRefused(f"key twice: {', '.join(sorted(value.twice & names))}")
        return {name: inner(value.get(name)) for name, inner in members}

    return convert


def _list(column: Column) -> Converter:
    element = _inner(column.fields[0])

    def convert(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueRefused(f"expected an array, got {kind_of(value)}")
        return [element(v) for v in value]

    return convert


def _map(column: Column) -> Converter:
    key_of, value_of = converter(column.fields[0]), _inner(column.fields[1])
    numeric_key = column.fields[0].type in {"long", "int", "double", "float"}

    def convert(value: Any) -> list[tuple[Any, Any]]:
        if not isinstance(value, Members):
            raise ValueRefused(f"expected an object, got {kind_of(value)}")
        if value.twice:
            raise ValueRefused("a key comes twice")
        return [(key_of(_map_key(k) if numeric_key else k), value_of(v)) for k, v in value.items()]

    return convert


def _map_key(text: str) -> Any:
    return Number(text) if _INTEGER.fullmatch(text) or text in _SPECIAL_FLOATS or _DECIMAL.fullmatch(text) else text


_SIMPLE: dict[str, Converter] = {
    "long": _integer("long"),
    "int": _integer("int"),
    "double": _double,
    "float": _float,
    "boolean": _boolean,
    "string": _string,
    "date": clock.date,
    "time": clock.time,
    "timestamptz": clock.timestamptz,
    "timestamp": clock.timestamp,
    "uuid": _uuid,
    "binary": _binary,
}


def compact_jsons(texts: list[str | None]) -> list[str | None] | None:
    """`compact_json` of each, in a loop that does nothing else; None: one of them is not JSON."""
    compact = msgspec.json.format
    try:
        return [None if text is None else compact(text, indent=-1) for text in texts]
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def compact_json(text: str | bytes) -> str:
    """JSON text without spaces between its tokens, otherwise as it came.

    Raises:
        ValueRefused: it is not JSON.
    """
    try:
        made = msgspec.json.format(text, indent=-1)
        return made if isinstance(made, str) else made.decode()
    except RecursionError as e:
        raise ValueRefused("nested too deeply") from e
    except (msgspec.DecodeError, UnicodeError) as e:
        raise ValueRefused("not JSON") from e
