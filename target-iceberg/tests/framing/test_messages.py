"""Messages are read with clear errors that quote nobody's data."""

from __future__ import annotations

import msgspec
import pytest

from target_iceberg.singer.messages import (
    ActivateVersion,
    Batch,
    Encoding,
    End,
    Record,
    Schema,
    SingerMessageError,
    Source,
    Start,
    State,
    TapReject,
    Unknown,
    parse,
)

CASES = [
    (b'{"type":"SCHEMA","stream":"a","schema":{},"key_properties":["id"]}', Schema("a", {}, ["id"])),
    (b'{"type":"SCHEMA","stream":"a","schema":{},"key_properties":null,"more":1}', Schema("a", {})),
    (b'{"type":"STATE","value":{"bookmarks":{}}}', State({"bookmarks": {}})),
    (b'{"value":null,"type":"STATE"}', State(None)),
    (b'{"type":"ACTIVATE_VERSION","stream":"a","version":7}', ActivateVersion("a", 7)),
    (
        b'{"type":"BATCH","stream":"a","encoding":{"format":"arrow","compression":null},"manifest":["file:///x"]}',
        Batch("a", Encoding("arrow"), ["file:///x"]),
    ),
    (b'{"type":"DATIVO_START","run":"r","state":{"n":1}}', Start("r", {"n": 1})),
    (b'{"type":"DATIVO_END"}', End()),
    (
        b'{"type":"DATIVO_REJECT","stream":"a","rule":"r","column":null,"message":"m","record":{"raw":"x"},"source":{"file":"f"}}',
        TapReject("a", "r", "m", None, {"raw": "x"}, Source("f")),
    ),
    (b'{"type":"SOMETHING_NEW","x":1}', Unknown("SOMETHING_NEW")),
]


@pytest.mark.parametrize(("line", "message"), CASES)
def test_each_kind_of_message_is_read(line: bytes, message: object) -> None:
    assert parse(line) == message


def test_a_record_keeps_its_text() -> None:
    message = parse(b'{"type":"RECORD","stream":"a","record":{"x": 1.50},"time_extracted":"t","version":2}')
    assert isinstance(message, Record)
    assert bytes(message.record) == b'{"x": 1.50}'
    assert (message.stream, message.version, message.time_extracted) == ("a", 2, "t")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"Traceback (most recent call last):", "not JSON .*'Traceback"),
        (b'{"type":"SCHEMA","stream":"a"}', "SCHEMA: Object missing required field `schema`"),
        (b'{"type":"STATE"}', "STATE: Object missing required field `value`"),
        (b'{"type":"RECORD","stream":7,"record":{}}', "RECORD: Expected `str`, got `int`"),
        (b"[1]", "Expected `object`, got `array`"),
        (b'{"no":"type"}', "missing required field `type`"),
        (b'{"type":"STATE","value":"secret', "not JSON .*bytes"),
        (b'{"type":"STATE","value":"\xff"}', "invalid UTF-8"),
        (b'{"type":"STATE","value":' + b"[" * 100_000, "nested too deeply"),
        (b"", "not JSON"),
    ],
)
def test_what_is_no_message_is_an_error_with_the_line_number_and_without_data(line: bytes, says: str) -> None:
    with pytest.raises(SingerMessageError, match=f"input line 12: .*{says}") as e:
        parse(line, 12)
    assert "secret" not in str(e.value)
    assert (e.value.line_number, e.value.failure_class) == (12, "source")


def test_a_state_keeps_numbers_as_they_came() -> None:
    message = parse(b'{"type":"STATE","value":{"a":12345678901234567890123,"b":1.0,"c":1}}')
    assert isinstance(message, State)
    assert msgspec.json.encode(message.value) == b'{"a":12345678901234567890123,"b":1.0,"c":1}'
