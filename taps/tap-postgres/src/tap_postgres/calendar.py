"""Dates and times that PostgreSQL has and Iceberg has no room for: infinity, years before 1 and beyond 9999, 24:00.

ADBC hands over the server's number with another zero: infinity, the greatest number that there is, wraps to one that no date or time
of PostgreSQL's can have. So all of them are known by their numbers, and the server need not look at each value.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tap_kit.database.source import Sifted

if TYPE_CHECKING:
    from collections.abc import Callable

_DAY_US = 86_400_000_000
_DAYS_TO_2000 = 10_957
"""From Arrow's zero, 1970, to PostgreSQL's."""
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896
"""0001-01-01 and 9999-12-31, from 1970."""

_EARLIEST_US = -210_866_803_200_000_000
"""4714-11-24 BC, the first moment of PostgreSQL's; what is less has wrapped, and is after 292277."""


def _wrapped(number: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return (number + half) % (2 * half) - half


_INFINITE_DATES = {
    _wrapped((1 << 31) - 1 + _DAYS_TO_2000, 32): "infinity",
    _wrapped(-(1 << 31) + _DAYS_TO_2000, 32): "-infinity",
}
_INFINITE_TIMES = {
    _wrapped((1 << 63) - 1 + _DAYS_TO_2000 * _DAY_US, 64): "infinity",
    _wrapped(-(1 << 63) + _DAYS_TO_2000 * _DAY_US, 64): "-infinity",
}


def _sift(values: pa.Array, *, number: pa.DataType, low: int, high: int, text: Callable[[int], str]) -> Sifted:
    numbers = values.view(number)
    fits = pc.and_(pc.greater_equal(numbers, low), pc.less_equal(numbers, high))
    if pc.all(fits).as_py() is not False:
        return Sifted(values, {})
    rows = pc.indices_nonzero(pc.invert(fits)).to_pylist()
    return Sifted(pc.if_else(fits, values, None), {row: text(numbers[row].as_py()) for row in rows})


def _date(days: int) -> str:
    if days in _INFINITE_DATES:
        return _INFINITE_DATES[days]
    day, era = _day(days)
    return f"{day}{era}"


def _timestamp(us: int, zone: str) -> str:
    if us in _INFINITE_TIMES:
        return _INFINITE_TIMES[us]
    days, rest = divmod(us if us >= _EARLIEST_US else us + (1 << 64), _DAY_US)
    day, era = _day(days)
    return f"{day} {_clock(rest)}{zone}{era}"


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, 1_000_000)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}" + (f".{fraction:06}".rstrip("0") if fraction else "")


def _day(days: int) -> tuple[str, str]:
    """(year-month-day, era) of a day since 1970, as PostgreSQL shows it.

    The Gregorian calendar in both directions; a year is taken to begin in March, so that the leap day is its last.
    """
    days += 719_468  # from 0000-03-01
    era, day_of_era = divmod(days, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * month + 2) // 5 + 1
    month += 3 if month < 10 else -9
    year = year_of_era + 400 * era + (month <= 2)
    return (f"{year:04}-{month:02}-{day:02}", "") if year > 0 else (f"{1 - year:04}-{month:02}-{day:02}", " BC")


sift_dates = partial(_sift, number=pa.int32(), low=_FIRST_DAY, high=_LAST_DAY, text=_date)
"""For date."""
sift_times = partial(_sift, number=pa.int64(), low=0, high=_DAY_US - 1, text=_clock)
"""For time."""
_sift_timestamps = partial(_sift, number=pa.int64(), low=_FIRST_DAY * _DAY_US, high=(_LAST_DAY + 1) * _DAY_US - 1)
sift_timestamps = partial(_sift_timestamps, text=partial(_timestamp, zone=""))
"""For timestamp."""
sift_moments = partial(_sift_timestamps, text=partial(_timestamp, zone="+00"))
"""For timestamptz, in sessions whose zone is UTC."""
