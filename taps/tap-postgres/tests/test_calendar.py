"""Days and moments outside of the years 1 to 9999 are shown as the server shows them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tap_postgres.calendar import sift_dates, sift_moments, sift_times

DAYS = st.integers(-2_440_588, 2_145_031_948)  # 4714-11-24 BC to 5874897-12-31
MOMENTS = st.integers(-210_866_803_200_000_000, 9_223_372_036_854_775_807)  # to 292277


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(DAYS, min_size=1, max_size=40), moments=st.lists(MOMENTS, min_size=1, max_size=40))
def test_texts_are_those_of_the_server(database: Any, days: list[int], moments: list[int]) -> None:
    kept, texts = sift_dates(pa.array(days, pa.int32()).view(pa.date32()))
    theirs = database.rows(
        f"SELECT (date '1970-01-01' + d)::text FROM unnest(ARRAY{days}::int[]) WITH ORDINALITY AS u(d, n) ORDER BY n"
    )
    for i, (text,) in enumerate(theirs):
        assert texts.get(i, str(kept[i].as_py())) == text
    database.run("SET timezone = 'UTC'")
    values = pa.array(moments, pa.int64()).view(pa.timestamp("us", "UTC"))
    kept, texts = sift_moments(values)
    # In days and the rest, since an interval of so many microseconds is too long.
    theirs = database.rows(
        "SELECT (timestamp '1970-01-01' + make_interval(days => (m / 86400000000)::int) + (m % 86400000000) * interval '1 us')::text "
        f"FROM unnest(ARRAY{moments}::bigint[]) WITH ORDINALITY AS u(m, n) ORDER BY n"
    )
    for i, (text,) in enumerate(theirs):
        if i in texts:
            day, era = text.removesuffix(" BC"), " BC" if text.endswith(" BC") else ""
            assert texts[i] == f"{day}+00{era}"
        else:
            assert not text.endswith(" BC")
            assert len(text.partition("-")[0]) == 4


def test_the_end_of_a_day_is_no_beginning() -> None:
    assert sift_times(pa.array([0, 86_400_000_000, None]).view(pa.time64("us"))).texts == {1: "24:00:00"}
