"""Bytes of the pipe into spans of RECORD lines and single other messages, without Python per line.

Within a block the lines of a stream are gathered, also when streams alternate. A message that is not a RECORD stays in
its place: all spans with records before it come before it. That is what a STATE means.
"""

from __future__ import annotations

import itertools
import os
import select
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from target_iceberg.singer.envelopes import Envelopes, is_json
from target_iceberg.singer.messages import SingerMessageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 1 << 30
MALFORMED = b"\x15"
"""Put before a RECORD line that is not one JSON object. No JSON text holds this byte outside of a string, so such a line
can never be completed by its neighbours when a whole chunk is parsed; the row path names it."""
_GATHER_SECONDS = 0.05
_GATHER_SECONDS_AT_MOST = 0.5
_SHORT_BYTES = 4096
_NAMING_FILES = (b'"BATCH"', b'"DATIVO_KEYS"')
_UTF8_BOM = b"\xef\xbb\xbf"
_NEWLINE, _RETURN, _BRACE = 10, 13, 125


@dataclass(frozen=True)
class Span:
    """RECORD lines of one stream, whole and newline-terminated, in the order of the pipe."""

    stream: str
    data: bytes | memoryview
    n_rows: int


@dataclass(frozen=True)
class Line:
    """A line that is not a RECORD; `messages.parse` tells what it is."""

    data: bytes
    number: int
    """Counted from 1."""


class Framer:
    """Cuts blocks of any size; what is left of a line waits for the next block."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._envelopes = Envelopes()
        self._rest: list[bytes] = []
        self._rest_bytes = 0
        self._max_line_bytes = max_line_bytes
        self._lines = 0
        self._at_start = True

    def feed(self, block: bytes) -> Iterator[Span | Line]:
        """Spans and lines that are complete with this block.

        Raises:
            SingerMessageError: a line is longer than `max_line_bytes`.
        """
        if self._at_start and block:
            block, self._at_start = block.removeprefix(_UTF8_BOM), False
        cut = block.rfind(b"\n") + 1
        if not cut:
            self._keep(block)
            return iter(())
        head = b"".join((*self._rest, memoryview(block)[:cut], bytes(self._envelopes.padding_bytes)))
        end = len(head) - self._envelopes.padding_bytes
        self._rest, self._rest_bytes = [], 0
        self._keep(block[cut:])
        return self._frame(head, end)

    def close(self) -> Iterator[Span | Line]:
        """The last line, if the input does not end with a newline."""
        return self.feed(b"\n") if self._rest else iter(())

    def _keep(self, rest: bytes) -> None:
        if rest:
            self._rest.append(rest)
            self._rest_bytes += len(rest)
        if self._rest_bytes > self._max_line_bytes:
            raise SingerMessageError(f"a line of more than {self._max_line_bytes:,} bytes", self._lines + 1)

    def _frame(self, block: bytes, end: int) -> Iterator[Span | Line]:
        data = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(data[:end] == _NEWLINE) + 1
        starts = np.concatenate(([0], ends[:-1]))
        first_line, self._lines = self._lines + 1, self._lines + len(ends)
        ids = self._envelopes.match(block, starts, ends)
        last = data[np.maximum(ends - 2, 0)]
        closed = last == _BRACE
        if not closed.all():
            closed |= (last == _RETURN) & (data[np.maximum(ends - 3, 0)] == _BRACE)
        done = 0
        marked: dict[int, bytes] = {}
        for i in np.flatnonzero((ids < 0) | ~closed).tolist():
            line = block[starts[i] : ends[i]]
            ids[i] = self._identify(line)
            if ids[i] >= 0:
                if not closed[i] and not is_json(line):
                    marked[i] = MALFORMED + line
                continue
            if line.strip():
                yield from self._spans(
                    block, starts[done:i], ends[done:i], ids[done:i], {k - done: v for k, v in marked.items()}
                )
                yield Line(line, first_line + i)
                done, marked = i + 1, {}
        yield from self._spans(block, starts[done:], ends[done:], ids[done:], {k - done: v for k, v in marked.items()})

    def _identify(self, line: bytes) -> int:
        # A shape learned a few lines ago in this block saves the regular expressions nothing: they are as fast.
        return self._envelopes.recognise(line) if line.strip() else -1

    def _spans(
        self,
        block: bytes,
        starts: npt.NDArray[np.int64],
        ends: npt.NDArray[np.int64],
        ids: npt.NDArray[np.int32],
        marked: dict[int, bytes],
    ) -> Iterator[Span]:
        """Spans of adjacent lines; ids below 0 are blank lines."""
        if not len(ids):
            return
        view = memoryview(block)
        if ids[0] >= 0 and not marked and (ids == ids[0]).all():
            yield Span(self._envelopes.streams[ids[0]], view[starts[0] : ends[-1]], len(ids))
            return
        order = np.argsort(ids, kind="stable")
        order = order[ids[order] >= 0]
        if not len(order):
            return
        ids, starts, ends = ids[order], starts[order], ends[order]
        replaced = {j: marked[i] for j, i in enumerate(order.tolist()) if i in marked} if marked else {}
        data = memoryview(_gather(view, starts, ends, replaced))
        lengths = ends - starts
        for j, line in replaced.items():
            lengths[j] = len(line)
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        bounds = np.concatenate(([0], np.flatnonzero(np.diff(ids)) + 1, [len(ids)]))
        places, names = offsets[bounds].tolist(), ids[bounds[:-1]].tolist()
        for k, (low, high) in enumerate(itertools.pairwise(bounds.tolist())):
            yield Span(self._envelopes.streams[names[k]], data[places[k] : places[k + 1]], high - low)


def _gather(
    view: memoryview, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], replaced: dict[int, bytes]
) -> bytes | memoryview:
    """Lines one after the other, some of them replaced; neighbours are copied together."""
    if replaced:
        return b"".join(
            replaced.get(i) or view[s:e] for i, (s, e) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True))
        )
    breaks = np.flatnonzero(starts[1:] != ends[:-1]) + 1
    first, last = (
        starts[np.concatenate(([0], breaks))].tolist(),
        ends[np.concatenate((breaks - 1, [len(ends) - 1]))].tolist(),
    )
    if len(first) == 1:
        return view[first[0] : last[0]]
    return b"".join([view[s:e] for s, e in zip(first, last, strict=True)])


def read_blocks(source: IO[Any], block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """Blocks of a binary or text stream as they come; a slow writer does not hold back what it has written.

    Text streams are taken as bytes where something binary lies beneath, else encoded as UTF-8.
    """
    raw = getattr(source, "buffer", source)
    try:
        fd = raw.fileno()
    except (AttributeError, OSError):
        while block := source.read(block_bytes):
            yield block.encode() if isinstance(block, str) else block
        return
    yield from _read_descriptor(fd, block_bytes)


def _read_descriptor(fd: int, block_bytes: int) -> Iterator[bytes]:
    # Blocks of a few pipe buffers are worth a short wait: the cost of framing is per block as well as per byte. A message that names
    # files is not: whoever has written it waits until they are taken.
    waiting: list[bytes] = []
    size, until = 0, 0.0
    while True:
        if waiting and (
            size >= block_bytes
            or _names_files(waiting[-1])
            or time.monotonic() >= until
            or not select.select([fd], [], [], _GATHER_SECONDS)[0]
        ):
            yield b"".join(waiting)
            waiting, size = [], 0
        part = os.read(fd, block_bytes)
        if not part:
            break
        if not waiting:
            until = time.monotonic() + _GATHER_SECONDS_AT_MOST
        waiting.append(part)
        size += len(part)
    if waiting:
        yield b"".join(waiting)


def _names_files(part: bytes) -> bool:
    """Whether it looks as if it ended in such a message; a mistake costs no more than a smaller block."""
    return any(word in part[-_SHORT_BYTES:] for word in _NAMING_FILES) and part.endswith(b"\n")
