"""What RECORD lines of each stream look like at their beginning or end, learned from the first of them.

A tap writes all envelopes of a stream alike: `{"type":"RECORD","stream":"orders","record":` again and again, with its own
spacing and order of keys. Recognising those bytes in whole blocks by numpy replaces parsing every line.
"""

from __future__ import annotations

import itertools
import re

import msgspec
import numpy as np
import numpy.typing as npt

MAX_SHAPE_BYTES = 256
MAX_SHAPES_PER_STREAM = 4
"""A tap that writes something changing before the stream's name would teach a new shape with every line."""

_TEXT = rb'"([^"\\]+)"'
_HEADS = (
    re.compile(rb'[ \t]*\{[ \t]*"type"[ \t]*:[ \t]*"RECORD"[ \t]*,[ \t]*"stream"[ \t]*:[ \t]*' + _TEXT),
    re.compile(rb'[ \t]*\{[ \t]*"stream"[ \t]*:[ \t]*' + _TEXT + rb'[ \t]*,[ \t]*"type"[ \t]*:[ \t]*"RECORD"'),
)
# A tail starts with a comma. Were that comma part of a string, the quote after it would end the string and bare words
# would follow, which is not JSON; so in a line that is JSON the tail belongs to the outermost object.
_TAILS = (
    re.compile(rb',[ \t]*"stream"[ \t]*:[ \t]*' + _TEXT + rb'[ \t]*,[ \t]*"type"[ \t]*:[ \t]*"RECORD"[ \t]*\}\r?\n'),
    re.compile(rb',[ \t]*"type"[ \t]*:[ \t]*"RECORD"[ \t]*,[ \t]*"stream"[ \t]*:[ \t]*' + _TEXT + rb"[ \t]*\}\r?\n"),
)


class _Envelope(msgspec.Struct):
    type: str
    stream: str | None = None


_ENVELOPE = msgspec.json.Decoder(_Envelope)


def is_json(line: bytes) -> bool:
    """Whether a line is one JSON object with a message type."""
    try:
        _ENVELOPE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class ShapeTable:
    """Byte strings of fixed place, each standing for a stream; none is the beginning of another.

    That last property holds because each ends with the closing quote of a name or with a newline.
    """

    def __init__(self) -> None:
        self._shapes: dict[bytes, int] = {}
        self._rebuild()

    def __len__(self) -> int:
        return len(self._shapes)

    @property
    def width(self) -> int:
        """Bytes of a window, a multiple of 8; 0 while nothing is learned."""
        return int(self._words.shape[1]) * 8

    def add(self, shape: bytes, stream_id: int) -> None:
        """Learn a shape."""
        self._shapes[shape] = stream_id
        self._rebuild()

    def _rebuild(self) -> None:
        shapes = sorted(self._shapes)
        width = -(-max(map(len, shapes), default=0) // 8) * 8
        self._ids = np.array([self._shapes[s] for s in shapes], np.int32)
        self._words = np.frombuffer(b"".join(s.ljust(width, b"\0") for s in shapes), "<u8").reshape(
            len(shapes), width // 8
        )
        mask = b"".join((b"\xff" * len(s)).ljust(width, b"\0") for s in shapes)
        self._masks = np.frombuffer(mask, "<u8").reshape(len(shapes), width // 8)
        common = [_common_bytes(a, b) for a, b in itertools.pairwise(shapes)]
        self._from, self._to = min(common, default=0), max(common, default=-1) + 1
        # What tells the shapes apart: the bytes after what all share, up to where each differs from its neighbours.
        self._keys = np.array([s[self._from : self._to] for s in shapes], dtype=f"S{max(1, self._to - self._from)}")

    def match(self, windows: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        """Stream id of each window, -1 where no shape fits. Windows are `(n, width)`, contiguous."""
        words = windows.view("<u8")
        if len(self._ids) == 1:
            same = ((words & self._masks[0]) == self._words[0]).all(axis=1)
            found: npt.NDArray[np.int32] = np.where(same, self._ids[0], np.int32(-1)).astype(np.int32)
            return found
        keys = np.ascontiguousarray(windows[:, self._from : self._to]).view(self._keys.dtype).ravel()
        at: npt.NDArray[np.intp] = np.maximum(np.searchsorted(self._keys, keys, side="right") - 1, 0)
        same = ((words & self._masks[at]) == self._words[at]).all(axis=1)
        return np.where(same, self._ids[at], np.int32(-1)).astype(np.int32)


def _common_bytes(a: bytes, b: bytes) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


class Envelopes:
    """All shapes of one input."""

    def __init__(self) -> None:
        self.streams: list[str] = []
        """Name of each stream id."""
        self._ids: dict[str, int] = {}
        self._heads, self._tails = ShapeTable(), ShapeTable()
        self._learned: dict[int, int] = {}

    @property
    def padding_bytes(self) -> int:
        """Bytes that must follow the last line of a block."""
        return self._heads.width

    def match(self, block: bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Stream id of each line, -1 where no learned shape fits; a block carries its padding."""
        ids = np.full(len(starts), -1, np.int32)
        if len(self._heads):
            ids = self._heads.match(_windows(block, starts, self._heads.width))
        width = self._tails.width
        if width:
            rest = np.flatnonzero((ids < 0) & (ends >= width))
            if len(rest):
                backwards = np.ascontiguousarray(_windows(block, ends[rest] - width, width)[:, ::-1])
                ids[rest] = self._tails.match(backwards)
        return ids

    def recognise(self, line: bytes) -> int:
        """Stream id of a RECORD line that no shape fits, learning its shape; -1 for everything else."""
        head = next((m for p in _HEADS if (m := p.match(line))), None)
        if head is not None:
            return self._learn(self._heads, line[: head.end()], head[1])
        try:
            envelope = _ENVELOPE.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return -1
        if envelope.type != "RECORD" or envelope.stream is None:
            return -1
        ending = line[-MAX_SHAPE_BYTES:]
        tail = next((m for p in _TAILS if (m := p.search(ending)) and m.end() == len(ending)), None)
        if tail is not None:
            return self._learn(self._tails, ending[tail.start() :][::-1], tail[1])
        return self._id(envelope.stream)

    def _learn(self, table: ShapeTable, shape: bytes, name: bytes) -> int:
        try:
            stream_id = self._id(name.decode())
        except UnicodeDecodeError:
            return -1
        if len(shape) <= MAX_SHAPE_BYTES and self._learned.get(stream_id, 0) < MAX_SHAPES_PER_STREAM:
            self._learned[stream_id] = self._learned.get(stream_id, 0) + 1
            table.add(shape, stream_id)
        return stream_id

    def _id(self, stream: str) -> int:
        if stream not in self._ids:
            self._ids[stream] = len(self.streams)
            self.streams.append(stream)
        return self._ids[stream]


def _windows(block: bytes, starts: npt.NDArray[np.int64], width: int) -> npt.NDArray[np.uint8]:
    """`(n, width)` bytes of a block from each start."""
    # Overlapping items of `width` bytes at every place: indexing copies each window with one memcpy.
    shape = (len(block) - width + 1,)
    sliding: npt.NDArray[np.void] = np.ndarray(shape=shape, dtype=f"V{width}", buffer=block, strides=(1,))
    windows: npt.NDArray[np.uint8] = sliding[starts].view(np.uint8)
    return windows.reshape(len(starts), width)
