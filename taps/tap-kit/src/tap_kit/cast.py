"""From the text of a field to a typed value: one set of rules for both lanes, whole columns at a time.

Most columns are cast at once. Only when a value does not parse, the column's texts are brought into the spelling that
the cast reads (`_CLEAN`) and cast again; what still does not parse is found by halving.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tap_kit.columns import decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

TRUE_WORDS = ("true", "t", "yes", "y", "1")
FALSE_WORDS = ("false", "f", "no", "n", "0")
_MAX_DIGITS = 16
"""No whole number below 2**53 has more; what is far beyond is too large for arithmetic."""
_NO_VALUE = "?"
"""A text that no cast reads."""

_ARROW = {
    "long": pa.int64(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "string": pa.string(),
    "json": pa.string(),
    "nested": pa.string(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
}


class Typed(NamedTuple):
    """A column of a block."""

    values: pa.Array
    """NULL where the text is NULL, or does not parse."""
    misfits: list[int]
    """Positions of texts that do not parse; ascending."""


def arrow_type(word: str) -> pa.DataType:
    """The Arrow type of a column type."""
    parameters = decimal_parameters(word)
    return pa.decimal128(*parameters) if parameters else _ARROW[word]


def cast_texts(texts: pa.Array, word: str, *, blank_is_null: bool = True) -> Typed:
    """A column's texts (NULL where the source says so) as values of its type.

    Args:
        texts: strings.
        word: the type.
        blank_is_null: a text of nothing but spaces is NULL where the type is none of text. A source that knows NULL has others.
    """
    if word in _TEXTS:
        present = texts if blank_is_null or word == "string" else pc.if_else(pc.equal(texts, ""), '""', texts)
        return Typed(_TEXTS[word](present), [])
    target = arrow_type(word)
    if word != "time":  # which Arrow cannot cast from text
        try:
            values = pc.cast(texts, target)
        except pa.ArrowInvalid:
            pass
        else:
            if not _may_mean_something_else(texts, values, word):
                return Typed(values, [])
    return _cast_leniently(texts, word, target, blank_is_null=blank_is_null)


def _may_mean_something_else(texts: pa.Array, values: pa.Array, word: str) -> bool:
    """The cast reads 0x1F as an integer and nan as a float; we do not."""
    if word == "long":
        characters = np.frombuffer(texts.buffers()[2] or b"", np.uint8)
        return bool(((characters | 0x20) == ord("x")).any())
    if word == "double":
        return pc.all(pc.is_finite(values)).as_py() is False
    return False


def _cast_leniently(texts: pa.Array, word: str, target: pa.DataType, *, blank_is_null: bool) -> Typed:
    trimmed = pc.utf8_trim_whitespace(texts)
    present = pc.if_else(pc.equal(trimmed, ""), None if blank_is_null else _NO_VALUE, trimmed)
    clean = _CLEAN["decimal" if pa.types.is_decimal(target) else word](present)
    values = pa.concat_arrays(list(_cast_parts(clean, _CAST.get(word, lambda part: pc.cast(part, target)), target)))
    misfits = pc.and_(pc.is_valid(present), pc.is_null(values))
    return Typed(values, pc.indices_nonzero(misfits).to_pylist())


def _cast_parts(texts: pa.Array, cast: Callable[[pa.Array], pa.Array], target: pa.DataType) -> list[pa.Array]:
    """Cast what can be cast, NULL for the rest: halves that fail are halved again."""
    todo, done = [texts], []
    while todo:
        part = todo.pop()
        try:
            done.append(cast(part))
        except pa.ArrowInvalid:
            if len(part) == 1:
                done.append(pa.nulls(1, target))
                continue
            middle = len(part) // 2
            todo += [part.slice(middle), part.slice(0, middle)]
    return done


def _only(texts: pa.Array, pattern: str) -> pa.Array:
    """Texts that match; the others become one that no cast reads."""
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, _NO_VALUE)


def _clean_long(texts: pa.Array) -> pa.Array:
    """+5 is 5; 5.0 and 5. are 5; 5e2 is 500."""
    exponents = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)[eE][+-]?\d{1,9}$")
    if pc.any(exponents).as_py():
        written_out = [_digits_of(text) for text in texts.filter(exponents).to_pylist()]
        texts = pc.replace_with_mask(texts, pc.fill_null(exponents, False), pa.array(written_out, pa.string()))
    return _only(pc.replace_substring_regex(texts, r"^(?:\+(\d+)|(-?\d+))(?:\.0*)?$", r"\1\2"), r"^-?\d+$")


def _digits_of(text: str) -> str:
    """A number with an exponent without it. One of 2**53 and more stays: a double, which it is, means no single whole number there."""
    number = Decimal(text)
    if number.is_zero():
        return "0"
    is_small = 0 <= number.adjusted() <= _MAX_DIGITS and abs(number) < 2**53
    return f"{number:f}" if is_small else text


def _clean_double(texts: pa.Array) -> pa.Array:
    """Decimal digits with point and exponent: no NaN, no Infinity."""
    return _only(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")


def _clean_boolean(texts: pa.Array) -> pa.Array:
    lower = pc.utf8_lower(texts)
    true, false = (pc.is_in(lower, pa.array(words)) for words in (TRUE_WORDS, FALSE_WORDS))
    known = pc.if_else(true, "true", pc.if_else(false, "false", _NO_VALUE))
    return pc.if_else(pc.is_valid(texts), known, None)


def _clean_date(texts: pa.Array) -> pa.Array:
    """A timestamp at midnight is a date."""
    return pc.replace_substring_regex(texts, r"^(\d{4}-\d\d-\d\d)[T ]00:00(:00(\.0+)?)?$", r"\1")


def _clean_time(texts: pa.Array) -> pa.Array:
    cut = _cut_fraction(_only(texts, r"^\d\d:\d\d(:\d\d(\.\d+)?)?$"))
    return pc.if_else(pc.equal(cut, _NO_VALUE), _NO_VALUE, pc.binary_join_element_wise("1970-01-01T", cut, ""))


def _clean_timestamp(texts: pa.Array) -> pa.Array:
    return _cut_fraction(texts)


def _clean_timestamptz(texts: pa.Array) -> pa.Array:
    """A timestamp without a zone is one in UTC; a date is its midnight."""
    midnight = pc.replace_substring_regex(texts, r"^(\d{4}-\d\d-\d\d)$", r"\1T00:00")
    joined = pc.replace_substring_regex(
        _cut_fraction(midnight), r"(:\d\d(\.\d+)?) ?(z|Z|UTC|[+-]\d\d(:?\d\d)?)$", r"\1\3"
    )
    zoned = pc.replace_substring_regex(joined, r"(z|UTC)$", "Z")
    has_zone = pc.match_substring_regex(zoned, r"[T ]\d\d.*(Z|[+-]\d\d(:?\d\d)?)$")
    return pc.if_else(has_zone, zoned, pc.binary_join_element_wise(zoned, "Z", ""))


def _cut_fraction(texts: pa.Array) -> pa.Array:
    """Microseconds are the finest that the table keeps."""
    return pc.replace_substring_regex(texts, r"(:\d\d\.\d{6})\d+", r"\1")


def _same(texts: pa.Array) -> pa.Array:
    return texts


def _finite(texts: pa.Array) -> pa.Array:
    """1e999 is no number that a double holds."""
    values = pc.cast(texts, pa.float64())
    return pc.if_else(pc.is_finite(values), values, None)


def _null_if_empty(texts: pa.Array) -> pa.Array:
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _json_texts(texts: pa.Array) -> pa.Array:
    """JSON stays, null is NULL, and what is no JSON becomes a JSON string."""
    return pa.array([_json_text(text) for text in texts.to_pylist()], pa.string())


def _json_text(text: str | None) -> str | None:
    if not text:
        return None
    try:
        return None if msgspec.json.decode(text) is None else text
    except msgspec.DecodeError:
        return msgspec.json.encode(text).decode()


_TEXTS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "string": _same,
    "nested": _null_if_empty,
    "json": _json_texts,
}
_CLEAN: dict[str, Callable[[pa.Array], pa.Array]] = {
    "long": _clean_long,
    "double": _clean_double,
    "boolean": _clean_boolean,
    "date": _clean_date,
    "time": _clean_time,
    "timestamp": _clean_timestamp,
    "timestamptz": _clean_timestamptz,
    "decimal": _same,
}
_CAST: dict[str, Callable[[pa.Array], pa.Array]] = {
    "double": _finite,
    "time": lambda part: pc.cast(pc.cast(part, pa.timestamp("us")), pa.time64("us")),
}
