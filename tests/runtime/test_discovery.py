"""A tap is asked for a sample: what stands in it, and that nothing of the tap is left."""

from __future__ import annotations

import os
import select
from typing import TYPE_CHECKING, Any

import pytest

from dativo.runtime.discovery import SAMPLE_RECORDS, Discovery
from dativo.runtime.environment import JobEnvironment
from dativo.runtime.process import base_environment
from dativo.runtime.redaction import Redactor

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def discovery(project: Any, tmp_path: Path) -> Discovery:
    """Of a tap that sends 1,000 orders and then waits."""
    environment = JobEnvironment({**base_environment(os.environ), "FAKE_TOKEN": "tok"}, Redactor([]), ())
    return Discovery(project.job(tap="more"), environment, project.root, tmp_path)


def has_ended(pid: int) -> bool:
    """Signals are not delivered at once."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 10)[0])
    finally:
        os.close(process)


def test_a_sample_ends_when_there_is_enough_of_each_stream(discovery: Discovery, project: Any) -> None:
    found = discovery.samples({"streams": [{"stream": "orders"}]}, ["orders"])
    assert [record["id"] for record in found["orders"]] == list(range(SAMPLE_RECORDS))
    child, wanted = (project.root / "started").read_text().split()
    assert wanted == str(SAMPLE_RECORDS)
    assert has_ended(int(child))


def test_a_sample_ends_in_time_and_holds_no_more_of_a_stream_than_is_wanted(
    discovery: Discovery, project: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dativo.runtime.discovery.SAMPLE_TIMEOUT_S", 3)
    found = discovery.samples({"streams": [{"stream": "orders"}, {"stream": "others"}]}, ["orders", "others"])
    assert {stream: len(records) for stream, records in found.items()} == {"orders": SAMPLE_RECORDS, "others": 0}
    assert has_ended(int((project.root / "started").read_text().split()[0]))


def test_a_run_hands_on_no_wish_for_a_sample() -> None:
    environment = base_environment({"DATIVO_SAMPLE_RECORDS": "5", "DATIVO_LOG_LEVEL": "debug"})
    assert "DATIVO_SAMPLE_RECORDS" not in environment
    assert environment["DATIVO_LOG_LEVEL"] == "debug"
