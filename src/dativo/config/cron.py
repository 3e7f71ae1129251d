"""Cron expressions: five fields or a word like @daily; what is wrong with one, in words."""

from __future__ import annotations

import re

WORDS = frozenset({"@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"})
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 7, _DAYS),
)
_TERM = re.compile(r"(?:\*|(\w+)(?:-(\w+))?)(?:/(\d+))?")


def problem_of(expression: str) -> str | None:
    """What is wrong, or None."""
    text = expression.strip()
    if text.startswith("@"):
        return None if text in WORDS else f"unknown word {text}; there are {', '.join(sorted(WORDS))}"
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return f"{len(fields)} fields instead of five (minute hour day-of-month month day-of-week)"
    for field, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for term in field.split(","):
            problem = _problem_of_term(term, low, high, names)
            if problem:
                return f"{name} '{field}': {problem}"
    return None


def _problem_of_term(term: str, low: int, high: int, names: tuple[str, ...]) -> str | None:
    match = _TERM.fullmatch(term)
    if match is None:
        return "not a number, a range a-b, a list a,b or a step */n"
    bounds = []
    for word in (match[1], match[2]):
        if word is None:
            continue
        number = _number(word, low, names)
        if number is None or not low <= number <= high:
            return f"'{word}' is not between {low} and {high}"
        bounds.append(number)
    if len(bounds) == 2 and bounds[0] > bounds[1]:
        return "the range runs backwards"
    return "a step of 0" if match[3] is not None and int(match[3]) == 0 else None


def _number(word: str, low: int, names: tuple[str, ...]) -> int | None:
    if word.isdecimal():
        return int(word)
    return names.index(word.upper()) + low if word.upper() in names else None
