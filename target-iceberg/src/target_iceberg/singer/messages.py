"""Singer messages other than the RECORD lines that framing recognises by their envelope."""

from __future__ import annotations

from typing import Any, Union

import msgspec

from target_iceberg.errors import TargetError

_EXCERPT_CHARACTERS = 80


class SingerMessageError(TargetError):
    """A line of the input is not a Singer message; the run cannot know what it missed."""

    def __init__(self, message: str, line_number: int | None = None) -> None:
        where = "input" if line_number is None else f"input line {line_number}"
        super().__init__(
            f"{where}: {message}; the tap wrote something that is not a Singer message to its standard output", "source"
        )
        self.line_number = line_number


class _Message(msgspec.Struct, frozen=True, tag_field="type"):
    pass


class Schema(_Message, frozen=True, tag="SCHEMA"):
    """SCHEMA: comes before the first RECORD of its stream and again whenever the stream's shape changes."""

    stream: str
    schema: dict[str, Any]
    key_properties: list[str] | None = None
    bookmark_properties: list[str] | None = None


class Record(_Message, frozen=True, tag="RECORD"):
    """RECORD that was read message by message."""

    stream: str
    record: msgspec.Raw
    """JSON text of the record."""
    version: int | None = None
    time_extracted: str | None = None


class State(_Message, frozen=True, tag="STATE"):
    """STATE: everything before it may be forgotten by the tap once it is published."""

    value: Any


class ActivateVersion(_Message, frozen=True, tag="ACTIVATE_VERSION"):
    """ACTIVATE_VERSION: rows of other versions are no longer in the source."""

    stream: str
    version: int


class Encoding(msgspec.Struct, frozen=True):
    """How the files of a BATCH are written."""

    format: str
    compression: str | None = None


class Batch(_Message, frozen=True, tag="BATCH"):
    """BATCH: records in files beside the pipe."""

    stream: str
    encoding: Encoding
    manifest: list[str]


class Start(_Message, frozen=True, tag="DATIVO_START"):
    """First line of the launcher: the tap starts from this state."""

    run: str
    state: dict[str, Any] = {}


class End(_Message, frozen=True, tag="DATIVO_END"):
    """Last line of the launcher: the tap exited with 0."""


class Source(msgspec.Struct, frozen=True):
    """Where a rejected record stood."""

    file: str | None = None
    record: int | None = None
    line: int | None = None


class TapReject(_Message, frozen=True, tag="DATIVO_REJECT"):
    """A record that the tap itself could not shape."""

    stream: str
    rule: str
    message: str
    column: str | None = None
    record: Any = None
    source: Source = Source()


class Keys(_Message, frozen=True, tag="DATIVO_KEYS"):
    """Keys that the source has: rows of the table that have others are gone. A list may take several messages."""

    stream: str
    manifest: list[str] = []
    """Arrow files with the key columns, as those of a BATCH."""
    begin: bool = False
    """A list begins; what was listed before and not concluded is void."""
    ranges: list[tuple[int | None, int | None]] | None = None
    """The list is complete, for these ranges of the first key column: ends included, ascending, None where there is no end."""


class Unknown(msgspec.Struct, frozen=True):
    """A message of a type that this target does not know, e.g. from a newer tap; it is reported once and skipped."""

    type: str


Message = Union[Schema, Record, State, ActivateVersion, Batch, Start, End, TapReject, Keys, Unknown]  # noqa: UP007 - msgspec reads it at run time on 3.10

_KNOWN = (Schema, Record, State, ActivateVersion, Batch, Start, End, TapReject, Keys)
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    str(t.__struct_config__.tag): msgspec.json.Decoder(t) for t in _KNOWN
}


class _Type(msgspec.Struct, frozen=True):
    type: str


_TYPE = msgspec.json.Decoder(_Type)


def parse(line: bytes, line_number: int | None = None) -> Message:
    """Message of one line.

    Raises:
        SingerMessageError: the line is not JSON, or a known message lacks what it must have. The text never quotes
            the values of a record.
    """
    try:
        kind = _TYPE.decode(line).type
        decoder = _DECODERS.get(kind)
        return Unknown(kind) if decoder is None else decoder.decode(line)
    except msgspec.ValidationError as e:
        raise SingerMessageError(f"{_kind(line)}: {e}", line_number) from e
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise SingerMessageError(f"not JSON ({_reason(e)}): {_excerpt(line)}", line_number) from e


def _kind(line: bytes) -> str:
    try:
        return _TYPE.decode(line).type
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "not a message"


def _reason(error: Exception) -> str:
    return {UnicodeDecodeError: "invalid UTF-8", RecursionError: "nested too deeply"}.get(type(error), str(error))


def _excerpt(line: bytes) -> str:
    """Beginning of a line for a message; a line with braces may hold a record's values and is not quoted."""
    if b"{" in line:
        return f"{len(line)} bytes"
    return repr(line[:_EXCERPT_CHARACTERS].decode("utf-8", "replace").strip())
