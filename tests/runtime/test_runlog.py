"""Events are shown in one way, stamped and without secrets."""

from __future__ import annotations

import io
import json

import pytest

from dativo.runtime.redaction import Redactor
from dativo.runtime.relay import Event
from dativo.runtime.runlog import open_log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_say_when_who_and_which_run() -> None:
    stream = io.StringIO()
    log = open_log("auto", "info", stream).bind(
        tenant="acme", job="orders", run_id="r1", redactor=Redactor(["hush-hush"])
    )
    log.say("plugin", "key is hush-hush", records=3, level="warning", note="hush-hush", time="forged", run_id="forged")
    (event,) = lines(stream)
    assert event.pop("time") != "forged"
    assert event == {
        "level": "warning", "event_type": "plugin", "tenant": "acme", "job": "orders", "run_id": "r1",
        "message": "key is ***", "records": 3, "note": "***",
    }  # fmt: skip


@pytest.mark.parametrize(("level", "shown"), [("debug", 3), ("info", 2), ("error", 1)])
def test_events_below_the_level_are_left_out(level: str, shown: int) -> None:
    stream = io.StringIO()
    log = open_log("json", level, stream)
    for each in ("debug", "info", "error"):
        log.emit(Event("x", each, "m"))
    assert len(lines(stream)) == shown


def test_a_job_may_have_its_own_level() -> None:
    stream = io.StringIO()
    log = open_log("json", "info", stream).bind(tenant="t", job="j", run_id="r", redactor=Redactor([]), level="debug")
    log.say("x", "m", level="debug")
    assert len(lines(stream)) == 1


def test_progress_is_rare_where_there_is_no_display() -> None:
    stream = io.StringIO()
    log = open_log("json", "info", stream)
    for n in range(50):
        log.emit(Event("progress", "info", "m", {"stream": "orders", "records": n}))
    assert lines(stream) == []


def test_text_is_one_readable_line_an_event() -> None:
    stream = io.StringIO()
    log = open_log("text", "info", stream).bind(tenant="acme", job="orders", run_id="r1", redactor=Redactor([]))
    log.say("plugin", "reading a.csv", component="tap")
    assert stream.getvalue()[8:] == " INFO    acme/orders: [tap] reading a.csv\n"


def test_a_terminal_gets_a_display_and_no_json() -> None:
    stream = Terminal()
    run_log = open_log("auto", "info", stream)
    log = run_log.bind(tenant="acme", job="orders", run_id="r1", redactor=Redactor([]))
    log.say("run_started", "run r1")
    log.say("progress", "", stream="orders", records=1200, rejected=3, bytes=2048)
    log.say("warning", "[odd] markup", level="warning")
    log.say("summary", "   3  orders.status.enum")
    log.say("run_finished", "published 1,197 rows", outcome="partial", level="warning")
    run_log.close()
    text = stream.getvalue()
    assert "published 1,197 rows" in text
    assert "orders.status.enum" in text
    assert "[odd] markup" in text
    assert "{" not in text
