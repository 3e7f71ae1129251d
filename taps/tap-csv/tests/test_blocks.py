"""Blocks of any size give the same records, numbers and lines."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_csv import blocks
from tap_csv.blocks import BlockReader
from tap_csv.columns import SOURCE_RECORD
from tap_csv.header import lay_out
from tap_csv.parse import Parser
from tap_csv.quoting import Lexer
from tap_csv.settings import Dialect
from tap_kit.columns import Column
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Iterator

DIALECT = Dialect(encoding="utf-8", delimiter=",", quotechar='"', header=0, null_values=())
FIELD = st.text(alphabet='aé", \n', max_size=5)
LINE = st.one_of(
    st.lists(FIELD, min_size=2, max_size=2),
    st.just([]),  # an empty line
    st.lists(st.sampled_from("xyz"), min_size=1, max_size=4).filter(lambda f: len(f) != 2),  # ragged
)


class Trickle:
    """Text that comes a few bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._stream = io.BytesIO(data)
        self._step = step

    def read(self, n: int) -> bytes:
        return self._stream.read(min(n, self._step))


def read(data: bytes, step: int, width: int = 2) -> tuple[list[tuple[Any, ...]], list[tuple[int, int, str, str]]]:
    """Rows as (number, fields...) and rejects as (number, line, rule, raw)."""
    columns = [Column(f"c{n}", "string") for n in range(width)]
    parser = Parser(DIALECT, lay_out([c.name for c in columns], columns, "f"), columns, (SOURCE_RECORD,), "f")
    rows: list[tuple[Any, ...]] = []
    rejects = []
    for block in BlockReader(Trickle(data, step), Lexer(",", '"'), "f"):
        parsed = parser.parse(block)
        rows += [(r[SOURCE_RECORD], *(r[c.name] for c in columns)) for r in parsed.rows.to_pylist()]
        rejects += [(r.record, r.line, r.rule, r.raw) for r in parsed.rejects]
    return rows, rejects


@given(st.lists(LINE, max_size=12), st.integers(1, 40), st.sampled_from(["\n", "\r\n"]), st.booleans())
@example([["\n", "a"], [], ["x"], ["b", ""]], 7, "\n", True)
def test_records_and_their_places_do_not_depend_on_the_blocks(
    lines: list[list[str]], step: int, terminator: str, last_is_ended: bool
) -> None:
    text, rows, rejects = written(lines, terminator)
    if not last_is_ended:
        text = text.removesuffix(terminator)
    assert read(text.encode(), step) == (rows, rejects)


def written(lines: list[list[str]], terminator: str) -> tuple[str, list[Any], list[Any]]:
    """The CSV of the lines, and what reading it must give."""
    out = io.StringIO()
    rows, rejects = [], []
    line = 1
    for number, fields in enumerate(lines, start=1):
        start = out.tell()
        csv.writer(out, lineterminator=terminator, quoting=csv.QUOTE_ALL if len(fields) == 2 else 0).writerow(fields)
        text = out.getvalue()[start:]
        if len(fields) == 2:
            rows.append((number, *fields))
        elif fields:
            rejects.append((number, line, "csv.ragged_row", text.removesuffix(terminator)))
        line += text.count("\n")
    return out.getvalue(), rows, rejects


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_records_that_would_be_misread_are_taken_out_and_the_others_keep_their_places(step: int) -> None:
    data = b'a,1\nb\xff,2\n\nc,"x\ny"\nd\0,3\n"e"e,4\nf\ng,"5""6"\n'
    rows, rejects = read(data, step)
    assert rows == [(1, "a", "1"), (4, "c", "x\ny"), (8, "g", '5"6')]
    assert rejects == [
        (2, 2, "csv.undecodable", "b\\xff,2"),
        (5, 6, "csv.nul_byte", "d\0,3"),
        (6, 7, "csv.malformed_quotes", '"e"e,4'),
        (7, 8, "csv.ragged_row", "f"),
    ]


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_old_mac_line_ends_are_line_ends(step: int) -> None:
    assert read(b"a,1\rb,2\r\rc,3\r", step) == ([(1, "a", "1"), (2, "b", "2"), (4, "c", "3")], [])


def test_unquoted_and_quoted_emptiness_differ() -> None:
    assert read(b',""\n', 100)[0] == [(1, None, "")]


def test_one_column_may_be_empty_only_in_quotes() -> None:
    assert read(b'a\n\n""\nb\n', 100, width=1)[0] == [(1, "a"), (3, ""), (4, "b")]


@pytest.mark.parametrize("step", [2, 1000])
def test_a_quote_that_never_closes_is_an_error_that_names_its_place(step: int) -> None:
    with pytest.raises(TapError, match="f: record 3, line 4: a quote opens and never closes"):
        read(b'a,1\n"b\n",2\nc,"3\nd,4\n', step)


def test_an_endless_record_is_an_error_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(TapError, match="record 2 is longer"):
        read(b"a,1\n" + b"x" * 5000, 100)
    with pytest.raises(TapError, match="record 2, line 2: a quote opens"):
        read(b'a,1\n"' + b"x" * 5000, 100)


def test_lines_and_records_can_be_taken_before_the_blocks() -> None:
    reader = BlockReader(Trickle(b'# "note\nid,"na\nme"\n1,2\n', 3), Lexer(",", '"'), "f")
    assert reader.take_line() == '# "note'
    assert reader.peek_record() == 'id,"na\nme"'
    assert reader.take_record() == 'id,"na\nme"'
    block = next(iter(reader))
    assert block.accepts(1)
    assert block.numbers(1).tolist() == [3]
    assert block.ragged(0, "").line == 4


def test_an_empty_file_has_neither_lines_nor_blocks() -> None:
    def reader() -> BlockReader:
        return BlockReader(Trickle(b"", 3), Lexer(",", '"'), "f")

    assert (reader().take_line(), reader().take_record(), reader().peek_record()) == (None, None, None)
    iterator: Iterator[Any] = iter(reader())
    assert list(iterator) == []
