"""Log lines for people and for programs."""

from __future__ import annotations

import json
import logging
import sys

import pytest

from tap_kit import logs


@pytest.fixture
def root() -> object:
    """The root logger, as it was afterwards."""
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


def test_people_get_level_and_message(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATIVO_LOG_FORMAT", raising=False)
    logs.configure("tap-x")
    logs.event(logging.getLogger("tap-x"), "file_read", "100% of a.csv", file="a.csv", level=logging.WARNING)
    assert capsys.readouterr().err == "WARNING 100% of a.csv\n"


def test_programs_get_an_object_with_the_facts(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATIVO_LOG_FORMAT", "json")
    logs.configure("tap-x")
    logger = logging.getLogger("tap-x")
    logs.event(logger, "file_read", "read a.csv", file="a.csv", records=2)
    logger.info("a line of somebody else")
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert {k: v for k, v in first.items() if k != "time"} == {
        "level": "info", "event_type": "file_read", "message": "read a.csv", "file": "a.csv", "records": 2,
    }  # fmt: skip
    assert second["event_type"] == "log"


def test_an_internal_error_keeps_its_traceback(root: logging.Logger) -> None:
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.LogRecord("tap-x", logging.ERROR, "f", 1, "internal error", (), sys.exc_info())
    line = json.loads(logs.JsonFormatter().format(record))
    assert "KeyError" in line["traceback"]
    assert "\n" not in logs.JsonFormatter().format(record)


@pytest.mark.parametrize(("variable", "value"), [("TAP_X_LOGLEVEL", "error"), ("LOGLEVEL", "ERROR")])
def test_the_level_comes_from_the_environment(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    logs.configure("tap-x")
    assert root.level == logging.ERROR
    monkeypatch.setenv(variable, "loud")
    logs.configure("tap-x")
    assert root.level == logging.INFO


def test_lines_of_the_sdk_that_say_nothing_new_are_left_out(
    root: logging.Logger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("tap-x")
    logging.getLogger("singer_sdk.metrics").info("METRIC: {}")
    logging.getLogger("tap-x.orders").error("An unhandled error occurred while syncing '%s'", "orders")
    assert capsys.readouterr().err == ""
