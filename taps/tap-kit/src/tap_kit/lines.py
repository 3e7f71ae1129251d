"""What our taps write on stdout beyond what the SDK knows: many records at once, batches, rejects."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.contrib.msgspec import MsgSpecWriter

if TYPE_CHECKING:
    from collections.abc import Sequence

RAW_LIMIT_BYTES = 4096
"""A reject carries this much of the raw text."""


class LineWriter(MsgSpecWriter):
    """Writes messages of the SDK, and lines that were encoded elsewhere."""

    def write_lines(self, lines: bytes) -> None:
        """Whole lines, each with its newline."""
        sys.stdout.buffer.write(lines)

    def flush(self) -> None:
        """Hand everything written to the pipe."""
        sys.stdout.flush()

    def write_batch(self, stream: str, encoding: dict[str, Any], manifest: Sequence[str]) -> None:
        """A BATCH message, on its way at once: the target may begin while the tap reads on."""
        self._write_object({"type": "BATCH", "stream": stream, "encoding": encoding, "manifest": list(manifest)})
        self.flush()

    def write_keys(
        self,
        stream: str,
        manifest: Sequence[str],
        *,
        begin: bool = False,
        ranges: Sequence[tuple[int | None, int | None]] | None = None,
    ) -> None:
        """DATIVO_KEYS: keys that the source has, in Arrow files.

        Args:
            stream: whose.
            manifest: files with the key columns.
            begin: a list begins.
            ranges: the list is complete for these ranges of the first key column, ends included, None where there is none.
        """
        self._write_object(
            {"type": "DATIVO_KEYS", "stream": stream, "manifest": list(manifest), "begin": begin, "ranges": ranges}
        )
        self.flush()

    def write_reject(self, stream: str, rule: str, message: str, raw: str, source: dict[str, Any]) -> None:
        """DATIVO_REJECT: a record that the tap could not bring into the stream's shape."""
        text = raw.encode("utf-8", "replace")[:RAW_LIMIT_BYTES].decode("utf-8", "ignore")
        self._write_object(
            {
                "type": "DATIVO_REJECT",
                "stream": stream,
                "rule": rule,
                "column": None,
                "message": message,
                "record": {"raw": text},
                "source": source,
            }
        )

    def _write_object(self, message: dict[str, Any]) -> None:
        self.write_lines(msgspec.json.encode(message) + b"\n")
