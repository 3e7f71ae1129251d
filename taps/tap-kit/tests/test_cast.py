"""What a text becomes in a column of each type: the documented spellings, and nothing else."""

from __future__ import annotations

from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tap_kit.cast import FALSE_WORDS, TRUE_WORDS, arrow_type, cast_texts

UTC = timezone.utc
MISFIT = object()

CASES: dict[str, dict[str, Any]] = {
    "long": {
        "1": 1, "-0": 0, "007": 7, "+5": 5, " 5 ": 5, "5.0": 5, "5.": 5, "-5.000": -5, "": None, "  ": None,
        "9223372036854775807": 2**63 - 1, "9223372036854775808": MISFIT, "1.5": MISFIT, "1e3": 1000, "0x1F": MISFIT,
        "-1.6777216e+07": -16777216, "9.007199254740991e+15": 2**53 - 1, "9.007199254740992e+15": MISFIT, "1e999999999": MISFIT, "1e9999999999999999999": MISFIT,
        "1e-999999999": MISFIT, "15e-1": MISFIT, "150E-1": 15, "+.5e1": 5, "0e999999999": 0, "0e-9": 0, "1e": MISFIT, "1.000e3": 1000,
        "1,000": MISFIT, "abc": MISFIT, "true": MISFIT, "--1": MISFIT, "+-1": MISFIT, "?": MISFIT,
    },
    "double": {
        "1": 1.0, "1.5": 1.5, "-.5": -0.5, "5.": 5.0, "+1e3": 1000.0, " 2.5 ": 2.5, "": None, "nan": MISFIT, "NaN": MISFIT,
        "inf": MISFIT, "-Infinity": MISFIT, "1e999": MISFIT, "0x1p3": MISFIT, "1,5": MISFIT, "abc": MISFIT, "1e": MISFIT,
    },
    "boolean": {
        **dict.fromkeys(TRUE_WORDS, True), **dict.fromkeys(FALSE_WORDS, False), "TRUE": True, "False": False, " Yes ": True,
        "": None, "2": MISFIT, "on": MISFIT, "wahr": MISFIT,
    },
    "date": {
        "2024-02-29": date(2024, 2, 29), " 2024-01-02 ": date(2024, 1, 2), "2024-01-02T00:00:00": date(2024, 1, 2),
        "2024-01-02 00:00:00.000": date(2024, 1, 2), "0001-01-01": date(1, 1, 1), "": None, "2023-02-29": MISFIT,
        "2024-01-02T10:00:00": MISFIT, "02.01.2024": MISFIT, "20240102": MISFIT, "2024-1-2": MISFIT,
    },
    "time": {
        "03:04": time(3, 4), "03:04:05": time(3, 4, 5), "03:04:05.123456789": time(3, 4, 5, 123456), " 23:59:59 ": time(23, 59, 59),
        "": None, "24:00:00": MISFIT, "3:04": MISFIT, "03:04:05Z": MISFIT, "noon": MISFIT, "03": MISFIT,
    },
    "timestamp": {
        "2024-01-02T03:04:05": datetime(2024, 1, 2, 3, 4, 5), "2024-01-02 03:04": datetime(2024, 1, 2, 3, 4),
        "2024-01-02": datetime(2024, 1, 2), "2024-01-02T03:04:05.123456789": datetime(2024, 1, 2, 3, 4, 5, 123456),
        "": None, "2024-01-02T03:04:05Z": MISFIT, "2024-01-02T03:04:05+01:00": MISFIT, "2024-13-01": MISFIT,
    },
    "timestamptz": {
        "2024-01-02T03:04:05Z": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "2024-01-02 03:04:05+02": datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC),
        "2024-01-02T03:04:05-0130": datetime(2024, 1, 2, 4, 34, 5, tzinfo=UTC),
        "2024-01-02 03:04:05 +02:00": datetime(2024, 1, 2, 1, 4, 5, tzinfo=UTC),
        "2024-01-02 03:04:05 UTC": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "2024-01-02T03:04:05.1234567z": datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC),
        "2024-01-02T03:04:05": datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        "2024-01-02T03:04": datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
        "2024-01-02": datetime(2024, 1, 2, tzinfo=UTC),
        "": None, "2024-01-02T25:00:00Z": MISFIT, "2024-01-02Z": MISFIT, "1700000000": MISFIT, "yesterday": MISFIT,
    },
    "decimal(10,2)": {
        "1.5": Decimal("1.50"), "-1.50": Decimal("-1.50"), "1.500": Decimal("1.50"), "+2": Decimal("2.00"), " 3.1 ": Decimal("3.10"),
        "1e2": Decimal("100.00"), "99999999.99": Decimal("99999999.99"), "": None, "1.555": MISFIT, "100000000": MISFIT,
        "1,5": MISFIT, "nan": MISFIT, "0x10": MISFIT, "abc": MISFIT, "1e999999999999": MISFIT,
    },
}  # fmt: skip


def expected(word: str, text: str) -> Any:
    return CASES[word][text]


def outcome(word: str, texts: list[str | None]) -> list[Any]:
    typed = cast_texts(pa.array(texts, pa.string()), word)
    assert typed.values.type == arrow_type(word)
    return [MISFIT if row in typed.misfits else value for row, value in enumerate(typed.values.to_pylist())]


@pytest.mark.parametrize(("word", "text"), [(word, text) for word, cases in CASES.items() for text in cases])
def test_a_text_alone_becomes_what_the_table_says(word: str, text: str) -> None:
    assert outcome(word, [text]) == [expected(word, text)]


@pytest.mark.parametrize("word", CASES)
@given(data=st.data())
def test_a_text_becomes_the_same_whatever_stands_around_it(word: str, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.none() | st.sampled_from(sorted(CASES[word])), max_size=40))
    assert outcome(word, texts) == [None if text is None else expected(word, text) for text in texts]


@pytest.mark.parametrize("word", CASES)
@given(text=st.text(alphabet="0123456789+-.eExXnaifNI:TZ tru\t_,", max_size=12))
def test_the_quick_way_and_the_lenient_way_agree(word: str, text: str) -> None:
    """Beside a text that does not parse, every text takes the lenient way."""
    alone = outcome(word, [text])
    beside = outcome(word, [text, "certainly not"])
    assert alone == beside[:1]
    assert beside[1] is MISFIT


@given(st.lists(st.none() | st.text(max_size=5)))
def test_texts_stay_texts(texts: list[str | None]) -> None:
    assert outcome("string", texts) == texts


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_long_survives(number: int) -> None:
    assert outcome("long", [str(number)]) == [number]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_double_survives(number: float) -> None:
    assert outcome("double", [repr(number)]) == [number]


@given(st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**28), max_value=10**28))
def test_every_decimal_survives_exactly(number: Decimal) -> None:
    assert outcome("decimal(38,9)", [str(number)]) == [number]


@given(st.datetimes(timezones=st.just(UTC)))
def test_every_timestamp_survives(moment: datetime) -> None:
    assert outcome("timestamptz", [moment.isoformat()]) == [moment]
    assert outcome("timestamp", [moment.replace(tzinfo=None).isoformat(" ")]) == [moment.replace(tzinfo=None)]


def test_slices_of_larger_arrays_are_cast_by_themselves() -> None:
    texts = pa.array(["0x1", "1", "2", "x"]).slice(1, 2)
    assert cast_texts(texts, "long").values.to_pylist() == [1, 2]


@pytest.mark.parametrize(
    ("word", "value"), [("long", None), ("date", None), ("string", ""), ("json", '""'), ("nested", '""')]
)
def test_an_empty_text_of_a_source_that_knows_null_is_no_null(word: str, value: str | None) -> None:
    typed = cast_texts(pa.array(["", None], pa.string()), word, blank_is_null=False)
    assert typed.values.to_pylist() == [value, None]
    assert typed.misfits == ([0] if value is None else [])
