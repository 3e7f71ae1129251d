"""Lines of Meltano and of the plugins inside it become events."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dativo.runtime.relay import Event, Relay


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def relay(events: list[Event]) -> Relay:
    return Relay(events.append)


def plugin_line(event: str, **flags: bool) -> str:
    return json.dumps(
        {"stdio": "stderr", "string_id": "x", "cmd_type": "elb", "event": event, "level": "info", **flags}
    )


def test_a_json_line_of_a_plugin_keeps_its_fields(relay: Relay, events: list[Event]) -> None:
    inner = {"event_type": "progress", "level": "info", "message": "m", "stream": "orders", "records": 5}
    relay.line(plugin_line(json.dumps(inner), consumer=True, producer=False))
    assert events == [Event("progress", "info", "m", {"component": "target", "stream": "orders", "records": 5})]


def test_a_plain_line_of_a_plugin_is_shown_as_it_is(relay: Relay, events: list[Event]) -> None:
    relay.line(plugin_line("reading a.csv", consumer=False, producer=True))
    assert events == [Event("plugin", "info", "reading a.csv", {"component": "tap"})]


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("2025-01-01 ERROR no such file", "error"),
        ("ValueError: bad", "error"),
        ("requests.exceptions.ConnectionError: refused", "error"),
        ("WARNING slow", "warning"),
        ("all fine", "info"),
    ],
)
def test_the_level_of_a_plain_line_is_guessed(relay: Relay, events: list[Event], text: str, level: str) -> None:
    relay.line(plugin_line(text, producer=True))
    assert events[0].level == level


def test_ordinary_talk_of_meltano_is_for_debugging(relay: Relay, events: list[Event]) -> None:
    relay.line('{"event": "Environment \'dativo\' is active", "level": "info"}')
    relay.line('{"event": "No state was found, complete import.", "level": "warning"}')
    assert [e.level for e in events] == ["debug", "debug"]


def test_exit_codes_of_the_plugins_are_remembered(relay: Relay) -> None:
    relay.line(
        '{"event": "Block run completed", "level": "error", "err": "Extractor failed", "exit_codes": {"extractors": 2}}'
    )
    assert relay.exit_codes == {"extractors": 2}


def test_the_reason_is_the_taps_last_error_before_anything_else(relay: Relay) -> None:
    relay.line(plugin_line("ERROR target is unhappy", consumer=True))
    relay.line(plugin_line("ERROR 401 from the API", producer=True))
    relay.line(plugin_line("bye", producer=True))
    assert relay.reason() == "tap: ERROR 401 from the API"


def test_without_an_error_the_last_line_is_the_reason(relay: Relay) -> None:
    relay.line(plugin_line("hello", producer=True))
    assert relay.reason() == "tap: hello"


@pytest.mark.parametrize("line", ["", "{not json", "[1]", '{"event": null}', '"text"', "\x00"])
def test_no_line_breaks_the_relay(relay: Relay, line: str) -> None:
    relay.line(line)


def test_identity_fields_of_a_plugin_do_not_overwrite_the_component(relay: Relay, events: list[Event]) -> None:
    payload: dict[str, Any] = {"message": "m", "component": "spoofed"}
    relay.line(plugin_line(json.dumps(payload), producer=True))
    assert events[0].fields["component"] == "tap"
