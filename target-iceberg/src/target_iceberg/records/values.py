"""Parsed JSON values, as the scalar definition of types takes them."""

from __future__ import annotations

import base64
import datetime as dt
import decimal
import math
import uuid
from functools import singledispatch
from typing import Any


class ValueRefused(ValueError):  # noqa: N818 - a verdict about data, not a failure of the program
    """The value is not of the column's type; the message names the problem and never the value."""


class Number:
    """A JSON number as its digits; NaN and Infinity included."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Number({self.text!r})"


class Members(dict[str, Any]):
    """A JSON object that remembers which keys came twice."""

    __slots__ = ("twice",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice: frozenset[str] = frozenset()
        if len(self) != len(pairs):
            seen: set[str] = set()
            self.twice = frozenset(k for k, _ in pairs if k in seen or seen.add(k))  # type: ignore[func-returns-value]


class TooDeep:
    """Stands for a value that is nested deeper than the parser goes."""


_WORDS: dict[type, str] = {
    str: "text",
    Number: "a number",
    bool: "true or false",
    list: "an array",
    TooDeep: "a value nested too deeply",
}


def kind_of(value: Any) -> str:
    """JSON's word for a value, for messages."""
    return _WORDS.get(type(value), "an object")


def text_of(value: Any, expected: str) -> str:
    """The value, if it is text.

    Raises:
        ValueRefused: it is not.
    """
    if not isinstance(value, str):
        raise ValueRefused(f"expected {expected}, got {kind_of(value)}")
    return value


@singledispatch
def parsed(value: Any) -> Any:
    """A Python value from Arrow as the JSON value that would have stood for it in a RECORD."""
    return value


@parsed.register
def _(value: int) -> Any:
    return value if isinstance(value, bool) else Number(str(value))


@parsed.register
def _(value: float) -> Any:
    if math.isfinite(value):
        return Number(repr(value))
    return Number("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")


@parsed.register
def _(value: decimal.Decimal) -> Any:
    return Number(format(value, "f"))


@parsed.register
def _(value: bytes) -> Any:
    return base64.b64encode(value).decode()


@parsed.register(dt.date)
@parsed.register(dt.time)
def _(value: dt.date | dt.time) -> Any:
    return value.isoformat()


@parsed.register
def _(value: uuid.UUID) -> Any:
    return str(value)


@parsed.register
def _(value: dict) -> Any:  # type: ignore[type-arg]
    return Members([(k, parsed(v)) for k, v in value.items()])


@parsed.register
def _(value: list) -> Any:  # type: ignore[type-arg]
    if value and isinstance(value[0], tuple):  # how Arrow gives a map
        return Members([(str(k), parsed(v)) for k, v in value])
    return [parsed(v) for v in value]
