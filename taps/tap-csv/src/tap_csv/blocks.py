"""Cut a file into blocks of whole records, and keep from the parser those that it would misread.

What reaches the parser is valid UTF-8 without NUL bytes, empty lines and broken quotes, so that each record is either
parsed or called ragged, and can be counted.
"""

from __future__ import annotations

import itertools
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol

import numpy as np

from tap_csv.prefetch import prefetched
from tap_csv.quoting import NO_QUOTES, last_record_end, record_ends
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tap_csv.quoting import Lexer, Positions, Quotes

_FIRST_BLOCK_BYTES = 1 << 20
_SMALLEST_BLOCK_BYTES = 1 << 16
_LARGEST_BLOCK_BYTES = 4 << 20
_BLOCK_ROWS = 100_000
MAX_RECORD_BYTES = 64 << 20
"""What is longer is no record but a quote that nobody closed."""


class Reject(NamedTuple):
    """A record that has no shape."""

    rule: str
    message: str
    record: int
    """Position in the file, counted from 1, with the header and the lines before it."""
    line: int
    raw: str


class Block:
    """Some whole records of a file."""

    def __init__(self, raw: bytes, quotes: Quotes, first_record: int, first_line: int) -> None:
        self.raw = raw
        """All records, as they are in the file."""
        self.data = raw
        """The records for the parser."""
        self.kept: Positions | None = None
        """Which records of `raw` those in `data` are; None when they are all."""
        self.rejects: list[Reject] = []
        self.total = 0
        """Records in `raw`, empty lines included; known once `accepts` was asked."""
        self.lines = 0
        """Lines in `raw`, likewise."""
        self._quotes = quotes
        self._first_record = first_record
        self._first_line = first_line
        self._screen()

    def accepts(self, records: int) -> bool:
        """Take note of how many records the parser has seen in `data`; the position of all later ones depends on it.

        False when that cannot be, because there are empty lines: they are out of `data` now, parse it again.
        """
        line_ends = self.raw.count(b"\n")
        self.lines = line_ends or lines_in(self.raw)
        self.total = records
        if self.kept is None and (not line_ends or records != line_ends + (not self.raw.endswith(b"\n"))):
            # Line ends within quotes, or empty lines, which the parser passes over in silence.
            self._take_out({})
        if self.kept is not None:
            self.total = len(self._ends)
            return records == len(self.kept)
        return True

    def numbers(self, parsed: int) -> Positions:
        """Positions in the file of the first `parsed` records of `data`."""
        return self._first_record + (np.arange(parsed) if self.kept is None else self.kept[:parsed])

    def ragged(self, position: int, message: str) -> Reject:
        """The reject for the record at a position in `data`."""
        return self._reject(position if self.kept is None else int(self.kept[position]), "csv.ragged_row", message)

    def _screen(self) -> None:
        """Take out what the parser would misread. When there is nothing, that costs a few searches."""
        data, malformed = self.raw, self._quotes.malformed
        if not len(malformed) and b"\0" not in data and _is_utf8(data):
            return
        broken = dict.fromkeys(self._owners(malformed), ("csv.malformed_quotes", "has text behind a closing quote"))
        octets = np.frombuffer(data, np.uint8)
        for n in self._owners(np.flatnonzero(octets == 0)):
            broken[n] = ("csv.nul_byte", "has a NUL byte")
        for n in self._owners(np.flatnonzero(octets > 127)):
            if not _is_utf8(data[self._starts[n] : self._ends[n]]):
                broken[n] = ("csv.undecodable", "has bytes that mean nothing in the file's encoding")
        self._take_out(broken)

    def _take_out(self, broken: dict[int, tuple[str, str]]) -> None:
        """Leave these records, and empty lines, out of `data`."""
        data, starts, ends = self.raw, self._starts, self._ends
        empty = [n for n in np.flatnonzero(ends - starts <= 2).tolist() if not data[starts[n] : ends[n]].strip(b"\r\n")]
        if not broken and not empty:
            return
        keep = np.ones(len(ends), dtype=bool)
        keep[[*broken, *empty]] = False
        self.kept = np.flatnonzero(keep)
        self.data = b"".join([data[starts[n] : ends[n]] for n in self.kept.tolist()])
        self.rejects = [self._reject(n, *broken[n]) for n in sorted(broken)]

    def _reject(self, n: int, rule: str, message: str) -> Reject:
        start = int(self._starts[n])
        line = self._first_line + lines_in(self.raw[:start])
        return Reject(rule, message, self._first_record + n, line, text_of(self.raw[start : self._ends[n]]))

    def _owners(self, positions: Positions) -> list[int]:
        """Which records of `raw` contain the byte positions."""
        found: list[int] = np.unique(np.searchsorted(self._ends, positions, side="right")).tolist()
        return found

    @cached_property
    def _ends(self) -> Positions:
        return record_ends(self.raw, self._quotes)

    @cached_property
    def _starts(self) -> Positions:
        return np.append(0, self._ends[:-1])


class TextSource(Protocol):
    """UTF-8 bytes of a file."""

    def read(self, n: int) -> bytes:
        """About n bytes; empty at the end."""


class _EndlessError(Exception):
    """The record at which the reader stands has no end; which record that is, is known when those before are counted."""

    def __init__(self, quotes: Quotes) -> None:
        super().__init__()
        self.quotes = quotes


class BlockReader:
    """One file from its beginning to its end: lines before the header, the header, then blocks."""

    def __init__(self, source: TextSource, lexer: Lexer, name: str) -> None:
        self._source = source
        self._lexer = lexer
        self._name = name
        self._rest = b""
        self._at_end = False
        self._block_bytes = _FIRST_BLOCK_BYTES
        self._record = 1
        self._line = 1

    def take_line(self) -> str | None:
        """The next line, whatever is in it; None at the end of the file."""
        return self._take(self._next_end(None))

    def take_record(self) -> str | None:
        """The next record as text, without its line end; None at the end of the file."""
        return self._take(self._next_end(self._lexer))

    def peek_record(self) -> str | None:
        """The next record, which stays the next."""
        end = self._next_end(self._lexer)
        return text_of(self._rest[:end]) if end else None

    def _next_end(self, lexer: Lexer | None) -> int:
        """Where the next record (without a lexer: line) ends; 0 at the end of the file."""
        while True:
            quotes = lexer.quotes(self._rest) if lexer else NO_QUOTES
            ends = record_ends(self._rest, quotes)
            if len(ends) > 1 or self._at_end:
                break
            try:
                self._fill(quotes)
            except _EndlessError as e:
                self._refuse_endless(e.quotes)
        if len(ends) == 1:
            self._refuse_open_quote(quotes)
        return int(ends[0]) if len(ends) else 0

    def _take(self, end: int) -> str | None:
        if not end:
            return None
        raw = self._rest[:end]
        self._rest = self._rest[end:]
        self._record += 1
        self._line += max(lines_in(raw), 1)
        return text_of(raw)

    def __iter__(self) -> Iterator[Block]:
        cuts = self._cuts()
        try:
            first = next(cuts, None)
            # Most files end with their first block; a thread pays for those that do not.
            rest = cuts if first is None or self._at_end else prefetched(cuts)
            for raw, quotes in itertools.chain([] if first is None else [first], rest):
                block = Block(raw, quotes, self._record, self._line)
                yield block
                self._record += block.total
                self._line += block.lines
                wanted = len(raw) * _BLOCK_ROWS // max(block.total, 1)
                self._block_bytes = min(max(wanted, _SMALLEST_BLOCK_BYTES), _LARGEST_BLOCK_BYTES)
        except _EndlessError as e:  # now that the records before it are counted
            self._refuse_endless(e.quotes)

    def _cuts(self) -> Iterator[tuple[bytes, Quotes]]:
        """Whole records and their quotes, block by block, while blocks before are still being parsed.

        Raises:
            _EndlessError: a record is too long, or a quote is never closed.
        """
        while True:
            self._fill(NO_QUOTES)
            while True:
                quotes = self._lexer.quotes(self._rest)
                cut = len(self._rest) if self._at_end else last_record_end(self._rest, quotes)
                if cut or self._at_end:
                    break
                # A record longer than the block: every look starts at its beginning, so let there be few of them.
                self._block_bytes = min(self._block_bytes * 2, _LARGEST_BLOCK_BYTES)
                self._fill(quotes)
            if self._at_end and quotes.open_at is not None:
                raise _EndlessError(quotes)
            if not cut:
                return
            raw, self._rest = self._rest[:cut], self._rest[cut:]
            yield raw, quotes.before(cut)

    def _fill(self, quotes: Quotes) -> None:
        """Read on; `quotes` are those of what is there already and holds no whole record."""
        if len(self._rest) > MAX_RECORD_BYTES:
            raise _EndlessError(quotes)
        data = self._source.read(self._block_bytes)
        self._at_end = not data
        self._rest += data

    def _refuse_endless(self, quotes: Quotes) -> NoReturn:
        self._refuse_open_quote(quotes)
        raise TapError(f"{self._name}: record {self._record} is longer than {MAX_RECORD_BYTES >> 20} MB")

    def _refuse_open_quote(self, quotes: Quotes) -> None:
        if quotes.open_at is None:
            return
        before = self._rest[: quotes.open_at]
        record = self._record + int(np.count_nonzero(record_ends(before, quotes.before(len(before))) < len(before)))
        raise TapError(
            f"{self._name}: record {record}, line {self._line + lines_in(before)}: a quote opens and never closes; "
            "double it, or close it, or set quotechar to '' if quotes mean nothing in this file"
        )


def lines_in(data: bytes) -> int:
    """How many lines end in the data."""
    return data.count(b"\n") or data.count(b"\r")


def text_of(raw: bytes) -> str:
    """A record for people: without its line end, bytes that are no text as backslash escapes."""
    return raw.decode("utf-8", "backslashreplace").rstrip("\r\n")


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
