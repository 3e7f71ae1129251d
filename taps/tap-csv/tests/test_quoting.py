"""Record ends are found where Python's csv reader finds them."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tap_csv.quoting import Lexer, last_record_end, record_ends

FIELD = st.text(alphabet='ab",\n\r ', max_size=6)
TEXT = st.text(alphabet='a",\n\r', max_size=30)


@given(TEXT)
@example('a"b,"c\nd"\n')
@example('"a""b"\n"c')
@example('""""\n')
def test_the_lexer_agrees_with_a_walk_over_every_character(text: str) -> None:
    block = text.encode()
    quotes = Lexer(",", '"').quotes(block)
    opens, closes, ends = walk(text)
    assert inside(quotes.opens, quotes.closes, len(block)) == inside(opens, closes, len(block))
    assert (quotes.open_at is None) == (len(opens) == len(closes))
    assert record_ends(block, quotes).tolist() == ends


def walk(text: str) -> tuple[list[int], list[int], list[int]]:
    """The rules of Arrow's parser, one character after the other."""
    opens: list[int] = []
    closes: list[int] = []
    ends: list[int] = []
    state = "start"
    for n, c in enumerate(text):
        if state == "quoted":
            if c == '"':
                closes.append(n)
                state = "closed"
        elif (c == '"' and state == "start") or (c == '"' and state == "closed"):
            opens.append(n)
            state = "quoted"
        elif c in "\r\n":
            if c == "\n" or text[n + 1 : n + 2] != "\n":
                ends.append(n + 1)
            state = "start"
        else:
            state = "start" if c == "," else "field"
    if text and (not ends or ends[-1] != len(text)):
        ends.append(len(text))
    return opens, closes, ends


def inside(opens: object, closes: object, length: int) -> list[tuple[int, int]]:
    """Quoted stretches; those that touch are one."""
    stretches: list[tuple[int, int]] = []
    for start, end in zip(list(opens), [*list(closes), length], strict=False):  # type: ignore[call-overload]
        if stretches and stretches[-1][1] == start - 1:
            stretches[-1] = (stretches[-1][0], int(end))
        else:
            stretches.append((int(start), int(end)))
    return stretches


@given(st.lists(st.lists(FIELD, min_size=2, max_size=3), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_written_csv_has_as_many_records_as_rows_and_no_broken_quotes(rows: list[list[str]], terminator: str) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator=terminator, quoting=csv.QUOTE_ALL).writerows(rows)
    block = out.getvalue().encode()
    quotes = Lexer(",", '"').quotes(block)
    assert len(record_ends(block, quotes)) == len(rows)
    assert not len(quotes.malformed)
    assert quotes.open_at is None


@given(TEXT)
def test_a_cut_is_behind_a_record_and_the_last_there_is(text: str) -> None:
    block = text.encode()
    quotes = Lexer(",", '"').quotes(block)
    cut = last_record_end(block, quotes)
    if cut:
        assert cut in record_ends(block, quotes)
    elif "\n" in text:
        assert not len(quotes.outside(np.array([n for n, c in enumerate(text) if c == "\n"])))


@pytest.mark.parametrize("text", ['"a"b,c\n', '"a" ,c\n', '"a""b"c\n'])
def test_text_behind_a_closing_quote_is_malformed(text: str) -> None:
    assert len(Lexer(",", '"').quotes(text.encode()).malformed) == 1


@pytest.mark.parametrize("text", ['5" pipe,a\n', 'a,b"c"d\n', '"a""b",""\n', '"",""\n', '"a"'])
def test_quotes_in_unquoted_fields_and_doubled_ones_are_fine(text: str) -> None:
    assert not len(Lexer(",", '"').quotes(text.encode()).malformed)


def test_without_a_quote_character_quotes_mean_nothing() -> None:
    assert len(record_ends(b'"a\nb",c\n', Lexer(",", "").quotes(b'"a\nb",c\n'))) == 2
