"""What Arrow's parser types itself is what texts and casts give; where it might not be, it is not asked."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tap_csv.blocks import BlockReader
from tap_csv.header import Layout
from tap_csv.parse import Parser
from tap_csv.quoting import Lexer
from tap_csv.settings import Dialect
from tap_kit.columns import Column

WORDS = {
    "long": ["0", "1", "-7", "+5", "5.0", "0x1F", "9223372036854775807", "9223372036854775808", " 3 ", "1e3", "007"],
    "double": ["0", "1.5", "-2e3", "nan", "inf", "1e999", ".5", "5.", " 1.0 ", "0x1p3", "+1"],
    "boolean": ["true", "False", "YES", "n", "1", "0", "t", "tRuE", " true "],
    "date": ["2024-02-29", "2023-02-29", "2024-01-01T00:00", "1-1-1", "0001-01-01"],
    "timestamp": ["2024-01-01 10:00:00", "2024-01-01T10:00:00.123456", "2024-01-01", "2024-01-01T10:00:00.1234567"],
    "timestamptz": ["2024-01-01 10:00:00", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00+02:00", "2024-01-01", "10:00"],
    "time": ["10:00", "10:00:00.5", "24:00", "25:00"],
    "decimal(6,2)": ["1.50", "1.500", "-9999.99", "12345.6", "1e2", "1.555", " 2.00 ", "+3"],
    "string": ["a", " b ", "NA", "ü,x", 'q"q', "line\nbreak"],
    "json": ['{"a":1}', "plain", "null"],
}
NOTHING = ["", '""', "NULL"]


def quoted(text: str, always: bool) -> str:
    if always or any(c in text for c in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text


@st.composite
def files(draw: Any) -> tuple[tuple[Column, ...], bytes]:
    words = draw(st.lists(st.sampled_from(sorted(WORDS)), min_size=1, max_size=5))
    # Mostly good values: a block with one bad value goes the way of texts as a whole.
    pools = [WORDS[w][: draw(st.integers(1, len(WORDS[w])))] for w in words]
    lines = []
    for _ in range(draw(st.integers(1, 12))):
        fields = [draw(st.sampled_from(NOTHING)) if draw(st.integers(0, 9)) == 0 else
                  quoted(draw(st.sampled_from(pool)), draw(st.booleans())) for pool in pools]  # fmt: skip
        lines.append(",".join(fields) + (",extra" if draw(st.integers(0, 19)) == 0 else ""))
    columns = tuple(Column(f"c{i}", w) for i, w in enumerate(words))
    return columns, ("\n".join(lines) + "\n").encode()


def parsed(columns: tuple[Column, ...], data: bytes, *, direct: bool) -> tuple[list[Any], list[Any], list[Any], bool]:
    dialect = Dialect(encoding="utf-8", delimiter=",", quotechar='"', header=0, null_values=("NULL",))
    layout = Layout(len(columns), {c.name: i for i, c in enumerate(columns)}, (), ())
    parser = Parser(dialect, layout, columns, ("_sdc_source_lineno",), "f.csv")
    taken = []
    if direct:
        reader = parser._direct
        assert reader is not None
        read = reader.read
        reader.read = lambda *a: taken.append(read(*a)) or taken[-1]  # type: ignore[method-assign, func-returns-value]
    else:
        parser._direct = None
    rows: list[Any] = []
    misfits: list[Any] = []
    rejects: list[Any] = []
    for block in BlockReader(io.BytesIO(data), Lexer(",", '"'), "f.csv"):
        got = parser.parse(block)
        rows += got.rows.to_pylist()
        misfits += got.misfits
        rejects += got.rejects
    return rows, misfits, rejects, any(t is not None for t in taken)


@settings(max_examples=400, deadline=None)
@given(files())
def test_direct_values_are_those_of_texts_and_casts(file: tuple[tuple[Column, ...], bytes]) -> None:
    columns, data = file
    assert parsed(columns, data, direct=True)[:3] == parsed(columns, data, direct=False)[:3]


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"time", "json"}))
def test_ordinary_values_are_read_directly(word: str) -> None:
    data = "".join(f"{quoted(text, False)}\n" for text in WORDS[word][:1]).encode()
    assert parsed((Column("c", word),), data, direct=True)[3]


def test_times_with_and_without_zone_are_both_read_directly() -> None:
    for text in ("2024-01-01T10:00:00Z", "2024-01-01 10:00:00", "2024-01-01T12:00:00+02:00"):
        rows, misfits, _, is_direct = parsed((Column("c", "timestamptz"),), f"{text}\n".encode(), direct=True)
        assert (str(rows[0]["c"]), misfits, is_direct) == ("2024-01-01 10:00:00+00:00", [], True)
