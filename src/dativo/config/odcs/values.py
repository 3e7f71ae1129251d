"""Values that rules compare with, and the limits of ODCS quality checks."""

from __future__ import annotations

import math
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_NUMBERS = frozenset({"int", "long", "float", "double"})
OPERATORS = (
    "mustBe", "mustNotBe", "mustBeGreaterThan", "mustBeGreaterOrEqualTo", "mustBeLessThan", "mustBeLessOrEqualTo",
    "mustBeBetween", "mustNotBeBetween",
)  # fmt: skip


def fits(value: Any, type_: str) -> bool:
    """Whether a value can ever be in a column of a type."""
    try:
        comparable(value, type_)
    except (ValueError, ArithmeticError, TypeError):
        return False
    return True


def comparable(value: Any, type_: str) -> Any:
    """A bound or an allowed value, comparable with others of the column's type.

    Raises:
        ValueError, ArithmeticError, TypeError: it is none.
    """
    if type_ == "boolean":
        if not isinstance(value, bool):
            raise ValueError(value)
        return value
    if isinstance(value, bool):
        raise TypeError(value)
    if type_ in {"int", "long"}:
        number = Decimal(str(value))
        if number != number.to_integral_value():
            raise ValueError(value)
        return int(number)
    if type_ in _NUMBERS or type_.startswith("decimal"):
        return Decimal(str(value))
    if type_ == "date":
        return date.fromisoformat(str(value))
    if type_ in {"timestamp", "timestamptz"}:
        return datetime.fromisoformat(str(value).replace("Z", "+00:00")).replace(tzinfo=None)
    if not isinstance(value, str):
        raise TypeError(value)
    return value


def plan_argument(bound: Any, written: Any) -> Any:
    """As the load plan carries it: numbers as written where they fit, everything else as text."""
    if isinstance(bound, int):
        return bound
    if isinstance(bound, Decimal):
        return written if isinstance(written, (int, float)) and Decimal(str(written)) == bound else str(bound)
    if isinstance(bound, datetime):
        return str(written) if comparable(written, "timestamp") == bound else bound.isoformat()
    return bound.isoformat() if isinstance(bound, date) else bound


def is_zero(check: Mapping[str, Any]) -> bool:
    """Whether a check allows none."""
    return at_most(check) == 0


def at_most(check: Mapping[str, Any]) -> int | float | None:
    """Upper limit of a count that must be small; None when the check says something else."""
    said = limits(check)
    if set(said) in ({"mustBe"}, {"mustBeLessOrEqualTo"}):
        value = next(iter(said.values()))
    elif set(said) == {"mustBeLessThan"} and check.get("unit", "rows") == "rows":
        value = math.ceil(said["mustBeLessThan"]) - 1
    else:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        return None
    return value if "mustBe" not in said or value == 0 else None


def limits(check: Mapping[str, Any]) -> dict[str, Any]:
    """Operator -> value, as a check has them."""
    return {o: check[o] for o in OPERATORS if o in check}


def limit_problem(check: Mapping[str, Any]) -> str | None:
    """Why a check cannot be compared with a number, or None."""
    said = limits(check)
    if not said:
        return "the check says nothing that its value must be"
    for operator, value in said.items():
        numbers = value if operator.endswith("Between") and isinstance(value, list) else [value]
        if any(isinstance(n, bool) or not isinstance(n, (int, float)) for n in numbers):
            return f"{operator} needs a number, and {value!r} is none"
        if operator.endswith("Between") and (len(numbers) != 2 or numbers[0] > numbers[1]):
            return f"{operator} needs two numbers, the smaller one first"
    return None


def row_limits(check: Mapping[str, Any]) -> dict[str, int | None] | None:
    """Argument of a row_count rule; None when the check is no limit."""
    said = limits(check)
    if len(said) != 1:
        return None
    operator, value = next(iter(said.items()))
    if operator == "mustBeBetween":
        return {"min": math.ceil(value[0]), "max": math.floor(value[1])}
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    allowed: dict[str, dict[str, int | None]] = {
        "mustBe": {"min": int(value), "max": int(value)},
        "mustBeGreaterThan": {"min": math.floor(value) + 1, "max": None},
        "mustBeGreaterOrEqualTo": {"min": math.ceil(value), "max": None},
        "mustBeLessThan": {"min": None, "max": math.ceil(value) - 1},
        "mustBeLessOrEqualTo": {"min": None, "max": math.floor(value)},
    }
    return allowed.get(operator)
