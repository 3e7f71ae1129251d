"""A timestamp without offset in a column with time zone is what the contract says, on every way in."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_iceberg.load_plan import Column, StreamPlan
from target_iceberg.records.columns import coerce
from target_iceberg.records.decode import Decoder
from target_iceberg.records.scalars import converter
from target_iceberg.records.values import ValueRefused

BERLIN = "Europe/Berlin"
TEXTS = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)).flatmap(
    lambda d: st.sampled_from(["", "Z", "+02:00", "-0330"]).map(lambda zone: d.isoformat() + zone)
)


def column(zone: str | None) -> Column:
    return Column(name="at", type="timestamptz", naive=zone)


def decoded(zone: str | None, *values: Any) -> Any:
    plan = StreamPlan(
        stream="s", namespace=("n",), table="t", columns=(column(zone),), write_mode="append", fingerprint="f"
    )
    lines = b"".join(
        json.dumps({"type": "RECORD", "stream": "s", "record": {"at": v}}).encode() + b"\n" for v in values
    )
    return Decoder(plan).decode_records(lines, len(values))


def test_a_value_without_offset_is_in_the_zone_of_the_contract() -> None:
    found = decoded(BERLIN, "2026-07-01T12:00:00", "2026-01-01T12:00:00", "2026-07-01T12:00:00Z", None, "2026-01-01")
    assert [v and v.isoformat() for v in found.table["at"].to_pylist()] == [
        "2026-07-01T10:00:00+00:00",
        "2026-01-01T11:00:00+00:00",
        "2026-07-01T12:00:00+00:00",
        None,
        "2025-12-31T23:00:00+00:00",
    ]


def test_without_a_word_of_the_contract_it_is_utc() -> None:
    assert decoded(None, "2026-07-01T12:00:00").table["at"].to_pylist()[0].hour == 12


def test_it_may_be_refused() -> None:
    found = decoded("reject", "2026-07-01T12:00:00", "2026-07-01T12:00:00+02:00", None)
    assert found.n_rejected == 1
    assert "without offset" in found.rejects[0].message
    assert found.table["at"].to_pylist()[0].hour == 10


def test_an_hour_that_there_was_not_is_refused_and_one_that_came_twice_is_the_first() -> None:
    found = decoded(BERLIN, "2026-03-29T02:30:00", "2026-10-25T02:30:00")
    assert found.n_rejected == 1
    assert "clocks were put forward" in found.rejects[0].message
    assert found.table["at"].to_pylist()[0].hour == 0


@given(
    st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=60),
    st.sampled_from([BERLIN, "America/New_York", "reject", "UTC"]),
)
def test_vector_and_scalar_agree(texts: list[str | None], zone: str) -> None:
    got = coerce(pa.array(texts, pa.string()), column(zone))
    convert = converter(column(zone))
    for i, text in enumerate(texts):
        if text is None:
            assert not got.array[i].is_valid
            continue
        try:
            expected = convert(text)
        except ValueRefused:
            assert i in got.bad
            continue
        assert got.array[i].value == expected


@pytest.mark.parametrize("zone", [BERLIN, "reject"])
def test_a_batch_means_the_same(zone: str) -> None:
    naive = pa.array([dt.datetime(2026, 7, 1, 12)], pa.timestamp("ms"))
    got = coerce(naive, column(zone))
    if zone == "reject":
        assert list(got.bad) == [0]
    else:
        assert got.array[0].as_py() == dt.datetime(2026, 7, 1, 12, tzinfo=ZoneInfo(BERLIN))
    zoned = pa.array([dt.datetime(2026, 7, 1, 12, tzinfo=dt.timezone.utc)], pa.timestamp("us", "UTC"))
    assert coerce(zoned, column(zone)).array[0].as_py().hour == 12
