"""What text of dates, times and timestamps means: the single definition."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from target_iceberg.records.values import ValueRefused, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

_DATE = r"(\d{4})-(\d\d)-(\d\d)"
_ZONE = r"(?P<zone>[Zz]|(?P<sign>[+-])(?P<zh>\d\d)(?::?(?P<zm>\d\d))?)?"
_CLOCK = r"(?P<h>\d\d)(?::(?P<m>\d\d)(?::(?P<s>\d\d)(?:\.(?P<f>\d+))?)?)?"
_TIMESTAMP = re.compile(_DATE + r"(?:[Tt ]" + _CLOCK + _ZONE + r")?", re.ASCII)
_BEYOND = re.compile(r"[+-]?infinity|[+-]?\d{5,}-\d\d-\d\d\b.*|\d{4,}-\d\d-\d\d\b.* BC", re.ASCII | re.IGNORECASE)
"""Moments that other calendars have."""
_TIME = re.compile(_CLOCK + _ZONE, re.ASCII)
_EPOCH_DAYS = dt.date(1970, 1, 1).toordinal()
REJECT = "reject"
DAY_MICROSECONDS = 86_400_000_000
FIRST_MICROSECOND = (dt.date(1, 1, 1).toordinal() - _EPOCH_DAYS) * DAY_MICROSECONDS
LAST_MICROSECOND = (dt.date(9999, 12, 31).toordinal() - _EPOCH_DAYS + 1) * DAY_MICROSECONDS - 1


def timestamptz(value: Any) -> int:
    """Microseconds since 1970 in UTC; an offset is converted, a value without one is UTC."""
    wall, offset = _instant(value, "a timestamp (ISO 8601)")
    moment = wall - (offset or 0) * 60_000_000
    if not FIRST_MICROSECOND <= moment <= LAST_MICROSECOND:
        raise ValueRefused("outside the years 1 to 9999 in UTC")
    return moment


def timestamptz_in(zone: str) -> Callable[[Any], int]:
    """`timestamptz` for a column whose contract says in which zone a value without offset is, or `reject`."""
    info = None if zone == REJECT else ZoneInfo(zone)

    def convert(value: Any) -> int:
        wall, offset = _instant(value, "a timestamp (ISO 8601)")
        if offset is not None:
            return timestamptz(value)
        if info is None:
            raise ValueRefused("a timestamp without offset, which the contract refuses")
        try:
            local = dt.datetime(1970, 1, 1) + dt.timedelta(microseconds=wall)  # noqa: DTZ001  its zone comes next
            there = local.replace(tzinfo=info).astimezone(dt.timezone.utc)
        except OverflowError as e:
            raise ValueRefused("outside the years 1 to 9999 in UTC") from e
        if there.astimezone(info).replace(tzinfo=None) != local:
            raise ValueRefused(f"no such time of day in {zone}: clocks were put forward")
        return (there - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)) // dt.timedelta(microseconds=1)

    return convert


def timestamp(value: Any) -> int:
    """Microseconds of the wall clock since 1970; an offset other than zero would be lost and is refused."""
    wall, offset = _instant(value, "a timestamp (ISO 8601)")
    if offset:
        raise ValueRefused(
            "a timestamp without time zone cannot keep an offset; send it without one, or make the column timestamptz"
        )
    return wall


def date(value: Any) -> int:
    """Days since 1970; a time of midnight is taken, another one would be lost and is refused."""
    wall, offset = _instant(value, "a date (YYYY-MM-DD)")
    days, rest = divmod(wall, DAY_MICROSECONDS)
    if rest or offset:
        raise ValueRefused("a date cannot keep a time of day or an offset")
    return days


def time(value: Any) -> int:
    """Microseconds since midnight."""
    m = _TIME.fullmatch(text_of(value, "a time of day (hh:mm:ss)"))
    if m is None or m["m"] is None:
        raise ValueRefused("not a time of day (hh:mm:ss)")
    if _offset_minutes(m):
        raise ValueRefused("a time of day cannot keep an offset")
    return _clock_microseconds(m)


def _instant(value: Any, expected: str) -> tuple[int, int | None]:
    """(microseconds of the wall clock since 1970, offset in minutes or None)."""
    text = text_of(value, expected)
    m = _TIMESTAMP.fullmatch(text)
    if m is None:
        raise ValueRefused("outside the years 1 to 9999" if _BEYOND.fullmatch(text) else f"not {expected}")
    try:
        days = dt.date(int(m[1]), int(m[2]), int(m[3])).toordinal() - _EPOCH_DAYS
    except ValueError as e:
        raise ValueRefused("no such day") from e
    return days * DAY_MICROSECONDS + (_clock_microseconds(m) if m["h"] else 0), _offset_minutes(m)


def _clock_microseconds(m: re.Match[str]) -> int:
    hour, minute, second = int(m["h"]), int(m["m"] or 0), int(m["s"] or 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueRefused("no such time of day")
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + int((m["f"] or "")[:6].ljust(6, "0"))


def _offset_minutes(m: re.Match[str]) -> int | None:
    """Minutes east of UTC, None where no zone is given."""
    if m["zone"] is None:
        return None
    if m["sign"] is None:
        return 0
    hours, minutes = int(m["zh"]), int(m["zm"] or 0)
    if hours > 23 or minutes > 59:
        raise ValueRefused("no such offset from UTC")
    return (hours * 60 + minutes) * (-1 if m["sign"] == "-" else 1)
