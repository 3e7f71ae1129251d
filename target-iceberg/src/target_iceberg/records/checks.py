"""Row rules, vectorised: one function per kind, which compiles the rule's argument and gives a test of a whole column.

A test returns a boolean column, true where a value passes. NULL passes every test but not_null: a rule speaks of values, and
whether there must be one is a rule of its own.
"""

from __future__ import annotations

import decimal
import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.records.columns import build
from target_iceberg.records.formats import FORMATS
from target_iceberg.records.scalars import converter
from target_iceberg.records.values import Number, ValueRefused, parsed
from target_iceberg.types import arrow_type, decimal_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_iceberg.load_plan import Column

    Test = Callable[[Any], Any]


_EXACT = decimal.Context(prec=700)
"""Doubles have up to 309 digits before the point and 340 after it."""


class RuleProblem(ValueError):  # noqa: N818 - a finding about the plan
    """The rule cannot be executed; the message says why."""


def not_null(column: Column, argument: Any) -> Test:  # noqa: ARG001 - every kind compiles alike
    """A value is there."""
    return _is_valid


def enum(column: Column, argument: Any) -> Test:
    """The value is one of the argument's."""
    if not isinstance(argument, list):
        raise RuleProblem("the argument must be a list of values")
    allowed = build([*(_value(column, v) for v in argument if v is not None), None], column)
    if isinstance(allowed.type, pa.BaseExtensionType):
        allowed = allowed.storage
        return lambda values: pc.is_in(_storage(values), value_set=allowed)
    return lambda values: pc.is_in(values, value_set=allowed)


def pattern(column: Column, argument: Any) -> Test:
    """The regular expression is found somewhere in the text."""
    _require_text(column)
    if not isinstance(argument, str):
        raise RuleProblem("the argument must be a regular expression")
    try:
        pc.match_substring_regex(pa.array([""]), argument)
    except pa.ArrowInvalid as e:
        raise RuleProblem(
            f"not a regular expression of RE2 (which has no look-around and no back references): {e}"
        ) from e
    return lambda values: pc.match_substring_regex(values, argument)


def minimum(column: Column, argument: Any) -> Test:
    """The value is not less than the argument; NaN is."""
    bound = _bound(column, argument, math.ceil)
    if bound is None:
        return _none_passes
    return lambda values: pc.greater_equal(values, bound)


def maximum(column: Column, argument: Any) -> Test:
    """The value is not greater than the argument; NaN is."""
    bound = _bound(column, argument, math.floor)
    if bound is None:
        return _none_passes
    return lambda values: pc.less_equal(values, bound)


def exclusive_minimum(column: Column, argument: Any) -> Test:
    """The value is greater than the argument; NaN is not."""
    if column.type in {"long", "int"}:
        return minimum(column, _next_whole(argument, 1))
    bound = _bound(column, argument, math.ceil)
    return lambda values: pc.greater(values, bound)


def exclusive_maximum(column: Column, argument: Any) -> Test:
    """The value is less than the argument; NaN is not."""
    if column.type in {"long", "int"}:
        return maximum(column, _next_whole(argument, -1))
    bound = _bound(column, argument, math.floor)
    return lambda values: pc.less(values, bound)


def multiple_of(column: Column, argument: Any) -> Test:
    """The value divided by the argument is a whole number."""
    step = _number(argument)
    if step <= 0:
        raise RuleProblem(f"{argument!r} is not greater than 0")
    if column.type in {"long", "int"} and step == step.to_integral_value() and step < 2**62:
        whole = pa.scalar(int(step), pa.int64())
        return lambda values: pc.equal(pc.multiply(pc.divide(pc.cast(values, pa.int64()), whole), whole), values)
    if column.type not in {"long", "int", "double", "float"} and not decimal_parameters(column.type):
        raise RuleProblem(f"a column of type {column.type} is no number")

    def test(values: Any) -> Any:
        # Exact, one value at a time: binary fractions have no exact remainder in vector code.
        return pa.array([None if v is None else _is_multiple(v, step) for v in values.to_pylist()], pa.bool_())

    return test


def unique_items(column: Column, argument: Any) -> Test:  # noqa: ARG001 - every kind compiles alike
    """No two elements of the list are equal."""
    if column.type != "list":
        raise RuleProblem(f"a column of type {column.type} has no elements")

    def test(values: Any) -> Any:
        found = [None if v is None else len({repr(e) for e in v}) == len(v) for v in values.to_pylist()]
        return pa.array(found, pa.bool_())

    return test


def min_length(column: Column, argument: Any) -> Test:
    """Text has at least so many characters, binary bytes, a list elements."""
    length, limit = _length(column), _whole(argument)
    return lambda values: pc.greater_equal(length(values), limit)


def max_length(column: Column, argument: Any) -> Test:
    """Text has at most so many characters, binary bytes, a list elements."""
    length, limit = _length(column), _whole(argument)
    if column.type != "string":
        return lambda values: pc.less_equal(length(values), limit)

    def test(values: Any) -> Any:
        # No text has more characters than bytes, and bytes need not be looked at to be counted.
        passed = pc.less_equal(pc.binary_length(values), limit)
        return passed if pc.all(passed).as_py() is not False else pc.less_equal(length(values), limit)

    return test


def format_(column: Column, argument: Any) -> Test:
    """Text is written as the named format wants it; a column of a type of its own has passed already."""
    if argument not in FORMATS:
        raise RuleProblem(f"no format {argument!r}; known are {', '.join(sorted(FORMATS))}")
    if column.type != "string":
        return _all_pass
    return FORMATS[argument]


CHECKS: dict[str, Callable[[Column, Any], Test]] = {
    "not_null": not_null,
    "enum": enum,
    "pattern": pattern,
    "minimum": minimum,
    "maximum": maximum,
    "exclusive_minimum": exclusive_minimum,
    "exclusive_maximum": exclusive_maximum,
    "multiple_of": multiple_of,
    "unique_items": unique_items,
    "min_length": min_length,
    "max_length": max_length,
    "format": format_,
}
"""Check by `Rule.kind`."""

MESSAGES: dict[str, str] = {
    "not_null": "NULL where a value must be",
    "enum": "not one of {0}",
    "pattern": "does not match {0}",
    "minimum": "less than {0}",
    "maximum": "greater than {0}",
    "exclusive_minimum": "not greater than {0}",
    "exclusive_maximum": "not less than {0}",
    "multiple_of": "not a multiple of {0}",
    "unique_items": "an element twice",
    "min_length": "shorter than {0}",
    "max_length": "longer than {0}",
    "format": "not written as {0}",
}
"""What a broken rule says; {0} is the rule's argument."""


def compile_check(kind: str, column: Column, argument: Any) -> Test:
    """The test of one rule.

    Raises:
        RuleProblem: unknown kind, or an argument that does not suit the column.
    """
    if kind not in CHECKS:
        raise RuleProblem(f"no rule kind {kind!r}; known are {', '.join(CHECKS)}")
    return CHECKS[kind](column, argument)


def _storage(values: Any) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return pa.chunked_array([c.storage for c in values.chunks], values.type.storage_type)
    return values.storage


def _is_valid(values: Any) -> Any:
    return pc.is_valid(values)


def _all_pass(values: Any) -> Any:
    return pa.chunked_array([pa.repeat(True, len(values))])


def _none_passes(values: Any) -> Any:
    return pc.is_null(values)


def _value(column: Column, argument: Any) -> Any:
    """A rule's argument in the column's type; numbers may be written as text."""
    numeric = column.type in {"long", "int", "double", "float"}
    value = Number(argument) if numeric and isinstance(argument, str) else parsed(argument)
    try:
        return converter(column)(value)
    except (ValueRefused, decimal.InvalidOperation, ValueError) as e:
        raise RuleProblem(f"{argument!r} is not a value of type {column.type}: {e}") from e


def _bound(column: Column, argument: Any, whole: Callable[[decimal.Decimal], int]) -> Any:
    """Scalar to compare with, None where no value of the type lies on the right side of it."""
    if column.type in {"long", "int"}:
        return _whole_bound(column, _number(argument), whole)
    if column.type in {"double", "float"}:
        return pa.scalar(float(_number(argument)), pa.float64())
    if decimal_parameters(column.type):
        return pa.scalar(_number(argument))
    if column.type in {"date", "timestamp", "timestamptz", "time"}:
        return build([_value(column, argument)], column)[0]
    raise RuleProblem(f"a column of type {column.type} has no minimum or maximum")


def _next_whole(argument: Any, step: int) -> int:
    number = _number(argument)
    return math.floor(number) + 1 if step > 0 else math.ceil(number) - 1


def _is_multiple(value: Any, step: decimal.Decimal) -> bool:
    number = decimal.Decimal(str(value))
    if not number.is_finite():
        return False
    return bool(_EXACT.remainder(number, step) == 0)


def _number(argument: Any) -> decimal.Decimal:
    try:
        number = decimal.Decimal(str(argument))
    except decimal.InvalidOperation as e:
        raise RuleProblem(f"{argument!r} is not a number") from e
    if isinstance(argument, bool) or not number.is_finite():
        raise RuleProblem(f"{argument!r} is not a number")
    return number


def _whole_bound(column: Column, number: decimal.Decimal, whole: Callable[[decimal.Decimal], int]) -> Any:
    bound, bits = whole(number), arrow_type(column).bit_width
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    if (whole is math.ceil and bound > high) or (whole is math.floor and bound < low):
        return None
    return pa.scalar(min(max(bound, low), high), arrow_type(column))


def _require_text(column: Column) -> None:
    if column.type != "string":
        raise RuleProblem(f"needs text, the column is of type {column.type}")


def _length(column: Column) -> Callable[[Any], Any]:
    lengths: dict[str, Callable[[Any], Any]] = {
        "string": pc.utf8_length,
        "binary": pc.binary_length,
        "list": pc.list_value_length,
    }
    if column.type not in lengths:
        raise RuleProblem(f"a column of type {column.type} has no length")
    return lengths[column.type]


def _whole(argument: Any) -> int:
    number = _number(argument)
    if number != number.to_integral_value() or number < 0:
        raise RuleProblem(f"{argument!r} is not a length")
    return int(number)
