"""The RECORD lane and the Arrow lane give the same table, whatever is in the file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TYPES = {
    "l": "long",
    "d": "double",
    "b": "boolean",
    "s": "string",
    "dt": "date",
    "t": "time",
    "ts": "timestamp",
    "tz": "timestamptz",
    "dec": "decimal(12,3)",
    "u": "uuid",
}
TEXTS = {
    "l": st.integers(-(2**63), 2**63 - 1).map(str) | st.sampled_from(["1.0", "+7", "1e3"]),
    "d": st.floats(allow_nan=False, allow_infinity=False).map(repr) | st.sampled_from(["nan", "1e999"]),
    "b": st.sampled_from(["true", "No", "1", "0", "maybe"]),
    "s": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    "dt": st.dates().map(str) | st.just("2024-02-30"),
    "t": st.times().map(str) | st.just("24:00"),
    "ts": st.datetimes().map(str) | st.just("2024-01-01T00:00:00Z"),
    "tz": st.datetimes().map(lambda d: f"{d}+00:00") | st.datetimes().map(str) | st.just("now"),
    "dec": st.decimals(-(10**8), 10**8, places=3).map(str) | st.just("0.0001"),
    "u": st.uuids().map(str),
}
ROW = st.fixed_dictionaries({name: st.just("") | texts for name, texts in TEXTS.items()})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROW, min_size=1, max_size=20), quote=st.booleans())
def test_both_lanes_give_the_same_table(
    sync: Callable[..., Any], catalog: Callable[..., dict[str, Any]], tmp_path: Path, rows: list[Any], quote: bool
) -> None:
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(TYPES), quoting=csv.QUOTE_ALL if quote else csv.QUOTE_MINIMAL)
        writer.writeheader()
        writer.writerows(rows)
    config = {"files": [{"path": "a.csv", "object": "all"}]}
    record, arrow = (sync(config, catalog("all", TYPES), lane=lane) for lane in ("record", "arrow"))
    assert [repr(row) for row in record.rows] == [repr(row) for row in arrow.rows]
    assert record.rejects == arrow.rejects
    assert record.state == arrow.state
    assert record.of("SCHEMA") == arrow.of("SCHEMA")
    assert len(record.rows) == len(rows)
    if quote:
        assert record.column("s") == [row["s"] for row in rows]
