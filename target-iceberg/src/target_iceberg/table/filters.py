"""Row filters by column name; PyIceberg's expressions take (term, value), which its pydantic types do not show."""
# mypy: disable-error-code="call-arg, arg-type"

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.expressions import EqualTo, GreaterThan, GreaterThanOrEqual, In, IsNull, LessThan, LessThanOrEqual

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pyiceberg.expressions import BooleanExpression


def equal(column: str, value: Any) -> BooleanExpression:
    """Column = value."""
    return EqualTo(column, value)


def greater(column: str, value: Any) -> BooleanExpression:
    """Column > value."""
    return GreaterThan(column, value)


def less(column: str, value: Any) -> BooleanExpression:
    """Column < value."""
    return LessThan(column, value)


def at_least(column: str, value: Any) -> BooleanExpression:
    """Column >= value."""
    return GreaterThanOrEqual(column, value)


def at_most(column: str, value: Any) -> BooleanExpression:
    """Column <= value."""
    return LessThanOrEqual(column, value)


def is_null(column: str) -> BooleanExpression:
    """Column holds nothing."""
    return IsNull(column)


def between(column: str, low: Any, high: Any) -> tuple[BooleanExpression, BooleanExpression]:
    """Both bounds, inclusive; to be joined by And."""
    return GreaterThanOrEqual(column, low), LessThanOrEqual(column, high)


def among(column: str, values: Iterable[Any]) -> BooleanExpression:
    """Column is one of the values."""
    return In(column, set(values))
