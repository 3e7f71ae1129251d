"""Framing: any split of the bytes gives the same messages, and nothing overtakes a STATE."""

from __future__ import annotations

import io
import itertools
import json
import os
import threading
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_iceberg.singer import envelopes
from target_iceberg.singer.framing import MALFORMED, Framer, Line, Span, read_blocks
from target_iceberg.singer.messages import SingerMessageError, State, parse


def record(stream: str, value: Any, **more: Any) -> bytes:
    return json.dumps({"type": "RECORD", "stream": stream, "record": {"v": value}, **more}).encode() + b"\n"


def state(n: int) -> bytes:
    return b'{"type":"STATE","value":{"n":%d}}\n' % n


def framed(data: bytes, cuts: list[int] | None = None) -> list[Span | Line]:
    """What comes out, its data copied, of a framer that gets the data in pieces."""
    framer, found = Framer(), []
    places = [0, *sorted(min(c, len(data)) for c in cuts or []), len(data)]
    for a, b in itertools.pairwise(places):
        found += list(framer.feed(data[a:b]))
    found += list(framer.close())
    return [Span(x.stream, bytes(x.data), x.n_rows) if isinstance(x, Span) else x for x in found]


def told(found: list[Span | Line]) -> list[tuple[Any, ...]]:
    """Between two lines: the lines of each stream, in their order."""
    out: list[tuple[Any, ...]] = []
    streams: dict[str, list[bytes]] = {}
    for x in found:
        if isinstance(x, Span):
            lines = x.data.splitlines(keepends=True)
            assert len(lines) == x.n_rows
            streams.setdefault(x.stream, []).extend(lines)
        else:
            out += [("records", dict(sorted(streams.items()))), ("line", x.data, x.number)]
            streams = {}
    return [*out, ("records", dict(sorted(streams.items())))]


spacings = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " : ")])
orders = st.permutations(["type", "stream", "record", "time_extracted", "version"])
names = st.sampled_from(["a", "ab", "orders", "orders2", "orders_archive", "ö", 'q"q', "back\\slash", "x" * 300])


@st.composite
def tap(draw: st.DrawFn) -> list[bytes]:
    """Lines of one tap: it writes all its envelopes alike, streams in turn, a STATE or another message now and then."""
    separators, order = draw(spacings), draw(orders)
    fields = draw(st.sets(st.sampled_from(["time_extracted", "version"])))
    lines = []
    for i, kind in enumerate(
        draw(st.lists(st.sampled_from(["record"] * 6 + ["state", "schema", "blank", "other"]), max_size=40))
    ):
        stream = draw(names)
        if kind == "record":
            nested = draw(
                st.sampled_from(
                    [
                        {"v": i},
                        {"type": "STATE", "stream": "no"},
                        {},
                        {"v": '"stream":"no","type":"RECORD"}'},
                        {"v": {"w": [1, {}]}},
                    ]
                )
            )
            message = {
                "type": "RECORD",
                "stream": stream,
                "record": nested,
                "time_extracted": f"2026-01-01T00:00:{i % 60:02}Z",
                "version": i,
            }
            keep = {k: message[k] for k in order if k in {"type", "stream", "record"} | fields}
            lines.append(json.dumps(keep, separators=separators, ensure_ascii=draw(st.booleans())).encode() + b"\n")
        elif kind == "blank":
            lines.append(draw(st.sampled_from([b"\n", b"\r\n", b"  \n"])))
        elif kind == "state":
            lines.append(state(i))
        else:
            lines.append(json.dumps({"type": kind.upper(), "stream": stream, "schema": {}}).encode() + b"\n")
    return lines


def expected(lines: list[bytes]) -> list[tuple[Any, ...]]:
    out: list[tuple[Any, ...]] = []
    streams: dict[str, list[bytes]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        message = json.loads(line)
        if message["type"] == "RECORD":
            streams.setdefault(message["stream"], []).append(line)
        else:
            out += [("records", dict(sorted(streams.items()))), ("line", line, number)]
            streams = {}
    return [*out, ("records", dict(sorted(streams.items())))]


@settings(max_examples=300, deadline=None)
@given(tap(), st.lists(st.integers(0, 4000), max_size=12))
def test_any_split_of_the_bytes_gives_the_same_messages_in_the_same_order(lines: list[bytes], cuts: list[int]) -> None:
    assert told(framed(b"".join(lines), cuts)) == expected(lines)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=5))
def test_no_byte_string_makes_the_framer_fail_or_lose_a_line(data: bytes, cuts: list[int]) -> None:
    found = framed(data, cuts)
    whole = data.removeprefix(b"\xef\xbb\xbf")
    lines = [x for x in (whole if whole.endswith(b"\n") or not whole else whole + b"\n").split(b"\n")[:-1] if x.strip()]
    assert sum(x.n_rows if isinstance(x, Span) else 1 for x in found) == len(lines)


def test_records_of_a_stream_never_overtake_a_state() -> None:
    lines = [record("a", 1), record("b", 2), state(1), record("a", 3), state(2), state(3), record("b", 4)]
    assert told(framed(b"".join(lines))) == expected(lines)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
def test_line_ends_of_windows_stay_in_the_vectorised_path(ending: bytes) -> None:
    lines = [record("a", i).rstrip(b"\n") + ending for i in range(100)]
    framer = Framer()
    list(framer.feed(b"".join(lines[:50])))
    spans = list(framer.feed(b"".join(lines[50:])))
    assert [(type(s), s.n_rows) for s in spans] == [(Span, 50)]  # type: ignore[union-attr]


def test_envelopes_that_end_with_the_stream_are_learned_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        b'{"record":{"v":%d},"stream":"%s","type":"RECORD"}\n' % (i, s)
        for i in range(50)
        for s in (b"a", b"bb", b"abc")
    ]
    framer = Framer()
    list(framer.feed(b"".join(lines)))

    def fail(*_: object) -> int:
        raise AssertionError("a line was looked at by itself")

    monkeypatch.setattr(envelopes.Envelopes, "recognise", fail)
    spans = list(framer.feed(b"".join(lines)))
    assert {s.stream: s.n_rows for s in spans} == {"a": 50, "bb": 50, "abc": 50}  # type: ignore[union-attr]


def test_a_tap_with_changing_envelopes_does_not_teach_without_end() -> None:
    lines = [b'{"time_extracted":"%d","stream":"a","type":"RECORD","record":{}}\n' % i for i in range(2000)]
    lines += [b'{"record":{},"stream":"a","type":"RECORD"%s}\n' % (b" " * i) for i in range(1, 50)]
    found = framed(b"".join(lines))
    assert sum(s.n_rows for s in found if isinstance(s, Span)) == len(lines)


def test_a_hundred_streams_in_turn_are_gathered_by_stream() -> None:
    lines = [record(f"stream_{i % 100}", i) for i in range(5000)]
    spans = framed(b"".join(lines))
    assert len(spans) == 100
    assert told(spans) == expected(lines)


@pytest.mark.parametrize(
    "broken",
    [
        b'{"type":"RECORD","stream":"a","record":\n',
        b'{"type":"RECORD","stream":"a","record":{"v":1}\n',
        b'{"type":"RECORD","stream":"a","record":{"v":1}}}\n',
        b'{"type":"RECORD","stream":"a","record":{"v":1}} x\n',
        b'{"type":"RECORD","stream":"a"\n',
    ],
)
def test_a_broken_record_line_stays_with_its_stream_and_is_marked(broken: bytes) -> None:
    lines = [record("a", 1), broken, record("a", 2)]
    (span,) = framed(b"".join(lines))
    assert isinstance(span, Span)
    assert (span.stream, span.n_rows) == ("a", 3)
    assert bytes(span.data).splitlines(keepends=True)[1] in {broken, MALFORMED + broken}


def test_spaces_after_a_record_do_not_mark_it() -> None:
    line = b'{"type":"RECORD","stream":"a","record":{"v":1}}  \n'
    assert framed(line) == [Span("a", line, 1)]


def test_a_line_of_many_megabytes_in_small_pieces_comes_out_whole() -> None:
    line = record("a", "x" * (12 << 20))
    framer = Framer()
    found = [x for i in range(0, len(line), 65_536) for x in framer.feed(line[i : i + 65_536])]
    assert [(s.stream, len(s.data), s.n_rows) for s in found if isinstance(s, Span)] == [("a", len(line), 1)]


def test_a_line_beyond_the_limit_is_an_error_with_its_number() -> None:
    framer = Framer(max_line_bytes=100)
    list(framer.feed(record("a", 1)))
    with pytest.raises(SingerMessageError, match="input line 2: a line of more than 100 bytes"):
        framer.feed(b"x" * 101)


def test_the_last_line_needs_no_newline_and_a_byte_order_mark_is_skipped() -> None:
    found = framed(b"\xef\xbb\xbf" + record("a", 1) + state(7).rstrip(b"\n"))
    assert isinstance(found[0], Span)
    assert parse(found[1].data) == State({"n": 7})


def test_other_messages_come_as_lines_with_their_numbers() -> None:
    found = framed(b'\n{"type":"SCHEMA"}\nhello\n' + record("a", 1) + b"[1]\n")
    assert [(x.data, x.number) for x in found if isinstance(x, Line)] == [
        (b'{"type":"SCHEMA"}\n', 2),
        (b"hello\n", 3),
        (b"[1]\n", 5),
    ]


class Unbacked(io.StringIO):
    """Text without a file below it, as test runners give."""


@pytest.mark.parametrize(
    "source", [Unbacked("äb\nc"), io.BytesIO("äb\nc".encode()), io.TextIOWrapper(io.BytesIO("äb\nc".encode()))]
)
def test_text_and_binary_sources_give_the_same_bytes(source: Any) -> None:
    assert b"".join(read_blocks(source, 2)) == "äb\nc".encode()


def test_a_slow_writer_does_not_hold_back_what_it_has_written() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb", buffering=0) as sink:
        blocks = read_blocks(source)
        sink.write(b"first\n")
        assert next(blocks) == b"first\n"
        sink.write(b"second\n")
        assert next(blocks) == b"second\n"
        sink.close()
        assert list(blocks) == []


@pytest.mark.parametrize("kind", ["BATCH", "DATIVO_KEYS"])
def test_a_message_that_names_files_is_not_kept_waiting_for_the_next(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has written it waits for its files to be taken, and the target would wait for more messages."""
    monkeypatch.setattr("target_iceberg.singer.framing.select.select", lambda *_: pytest.fail("waits"))
    read_end, write_end = os.pipe()
    message = b'{"type":"%s","stream":"a","manifest":["file:///b"]}\n' % kind.encode()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb", buffering=0) as sink:
        blocks = read_blocks(source)
        for _ in range(2):
            sink.write(message)
            assert next(blocks) == message


def test_what_trickles_in_is_not_gathered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("target_iceberg.singer.framing._GATHER_SECONDS_AT_MOST", 0)
    monkeypatch.setattr("target_iceberg.singer.framing.select.select", lambda *_: ([1], [], []))
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb") as source, os.fdopen(write_end, "wb", buffering=0) as sink:
        sink.write(b"first\n")
        assert next(read_blocks(source)) == b"first\n"


def test_a_fast_writer_is_read_in_large_blocks() -> None:
    read_end, write_end = os.pipe()
    data = b"0123456789abcde\n" * (1 << 17)

    def write() -> None:
        with os.fdopen(write_end, "wb") as sink:
            sink.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(read_end, "rb") as source:
        blocks = list(read_blocks(source, 1 << 20))
    writer.join()
    assert b"".join(blocks) == data
    assert max(map(len, blocks)) >= 1 << 20
