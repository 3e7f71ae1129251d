"""Where records end: quotes and line ends of a block of CSV, found with numpy and without a look at each byte.

The rules are those of Arrow's CSV parser: a quote opens a field only as its first character, a doubled quote inside is
a quote, any other closes. Elsewhere a quote is an ordinary character.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Positions = npt.NDArray[np.int64]
_NONE: Positions = np.zeros(0, dtype=np.int64)
_LF, _CR = 10, 13


@dataclass(frozen=True)
class Quotes:
    """The quoted stretches of a block that begins at the start of a record."""

    opens: Positions
    """Positions of quotes that open; ascending."""
    closes: Positions
    """The quotes that close them; one shorter when the last is open at the end of the block."""
    malformed: Positions
    """Closing quotes with something other than a delimiter or line end behind them."""

    @property
    def open_at(self) -> int | None:
        """Where the stretch begins that is open at the end of the block."""
        return int(self.opens[-1]) if len(self.opens) > len(self.closes) else None

    def before(self, end: int) -> Quotes:
        """The quotes in the first `end` bytes, which end outside of quoted stretches."""
        return Quotes(
            *(positions[: np.searchsorted(positions, end)] for positions in (self.opens, self.closes, self.malformed))
        )

    def outside(self, positions: Positions) -> Positions:
        """Those of the (ascending) positions that lie in no quoted stretch."""
        if not len(self.opens):
            return positions
        before = np.searchsorted(self.opens, positions) - 1
        ends = np.append(self.closes, np.iinfo(np.int64).max)[: len(self.opens)]
        return positions[(before < 0) | (ends[before] < positions)]


NO_QUOTES = Quotes(_NONE, _NONE, _NONE)


class Lexer:
    """Knows the characters that matter."""

    def __init__(self, delimiter: str, quotechar: str) -> None:
        self._delimiter = ord(delimiter)
        self._quote = ord(quotechar) if quotechar else None

    def quotes(self, block: bytes) -> Quotes:
        """All quoted stretches of a block."""
        if self._quote is None or block.find(self._quote) < 0:
            return NO_QUOTES
        data = np.frombuffer(block, dtype=np.uint8)
        found = np.flatnonzero(data == self._quote)
        opens, closes = found[0::2], found[1::2]
        # Mostly quotes simply alternate. That is right if each that should open stands where a field begins, or
        # directly behind the one that closed: then the two are a doubled quote, and the stretch just goes on.
        begins = self._begins_field(data, opens)
        begins[1:] |= opens[1:] == closes[: len(opens) - 1] + 1
        if not begins.all():
            opens, closes = self._walk(data, found)
        reopened = np.zeros(len(closes), dtype=bool)
        reopened[: len(opens) - 1] = opens[1:] == closes[: len(opens) - 1] + 1
        return Quotes(opens, closes, closes[~(reopened | self._ends_field(data, closes))])

    def _begins_field(self, data: npt.NDArray[np.uint8], positions: Positions) -> npt.NDArray[np.bool_]:
        before = data[positions - 1]  # of position 0 this is the last byte; repaired below
        return np.asarray((before == self._delimiter) | (before == _LF) | (before == _CR) | (positions == 0))

    def _ends_field(self, data: npt.NDArray[np.uint8], positions: Positions) -> npt.NDArray[np.bool_]:
        last = len(data) - 1
        behind = data[np.minimum(positions + 1, last)]
        return np.asarray((behind == self._delimiter) | (behind == _LF) | (behind == _CR) | (positions == last))

    def _walk(self, data: npt.NDArray[np.uint8], found: Positions) -> tuple[Positions, Positions]:
        """The same one quote after another, for blocks with quotes in the middle of unquoted fields."""
        begins = self._begins_field(data, found).tolist()
        opens: list[int] = []
        closes: list[int] = []
        inside = False
        for position, begins_field in zip(found.tolist(), begins, strict=True):
            if inside:
                closes.append(position)
                inside = False
            elif begins_field or (closes and closes[-1] == position - 1):
                opens.append(position)
                inside = True
        return np.array(opens, dtype=np.int64), np.array(closes, dtype=np.int64)


def last_record_end(block: bytes, quotes: Quotes) -> int:
    """Position behind the last record that surely ends within the block; 0 when none does."""
    for terminator in (b"\n", b"\r"):
        # A carriage return at the very end may be half of a line end.
        stop = len(block) if terminator == b"\n" else len(block) - 1
        while (position := block.rfind(terminator, 0, stop)) >= 0:
            if len(quotes.outside(np.array([position]))):
                return position + 1
            stop = int(quotes.opens[np.searchsorted(quotes.opens, position) - 1])
    return 0


def record_ends(block: bytes, quotes: Quotes) -> Positions:
    """Positions behind the line end of each record; the last is the end of the block, with or without a line end.

    Empty for an empty block.
    """
    if not block:
        return _NONE
    data = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero((data == _LF) | ((data == _CR) & (np.append(data[1:], 0) != _LF)))
    ends = quotes.outside(ends) + 1
    return ends if len(ends) and ends[-1] == len(block) else np.append(ends, len(block))
