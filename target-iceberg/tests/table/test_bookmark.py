"""Bookmarks: their text, their size, and the state that several of them add up to."""

from __future__ import annotations

from typing import Any

import pytest

from target_iceberg.errors import TargetError
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.bookmark import Bookmark


def mark(run_id: str = "r1", **state: Any) -> Bookmark:
    return Bookmark(
        n=1, commit_id="c", snapshot_id=1, sequence_number=1, run_id=run_id, fingerprint="f", state=state or None
    )


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
def test_a_bookmark_survives_being_written_and_read(size: int) -> None:
    b = mark(bookmark={"files": {f"{i:07d}.csv": i for i in range(size // 16)}})
    text = bookmarks.encode(b)
    assert bookmarks.decode(text) == b
    assert text.startswith("gzip:") == (size > 64 << 10)


def test_a_bookmark_too_large_for_a_property_is_refused() -> None:
    import random

    noise = random.Random(1).randbytes(5 << 20).hex()
    with pytest.raises(TargetError, match="fewer files"):
        bookmarks.encode(mark(bookmark=noise))


def test_streams_of_one_job_add_up_to_one_state() -> None:
    held = {"a": mark(bookmark={"x": 1}), "b": mark("r2", bookmark={"y": 2}), "c": None}
    assert bookmarks.merge_states(held, resume_from_oldest=False) == {"bookmarks": {"a": {"x": 1}, "b": {"y": 2}}}


def test_a_state_that_is_one_unit_needs_tables_of_one_run() -> None:
    same_run = {"a": mark(rest={"cursor": 5}), "b": mark(rest={"cursor": 5})}
    assert bookmarks.merge_states(same_run, resume_from_oldest=False) == {"cursor": 5}
    torn = {"a": mark("r1", rest={"cursor": 4}), "b": mark("r2", rest={"cursor": 5})}
    with pytest.raises(TargetError, match="one unit"):
        bookmarks.merge_states(torn, resume_from_oldest=False)
    assert bookmarks.merge_states(torn, resume_from_oldest=True) == {"cursor": 4}


def test_split_and_merge_are_inverse() -> None:
    state = {"bookmarks": {"a": {"x": 1}, "b": {"y": 2}}, "currently_syncing": "b"}
    held = {s: mark(**bookmarks.split_state(state, s)) for s in ("a", "b")}
    assert bookmarks.merge_states(held, resume_from_oldest=False) == {"bookmarks": state["bookmarks"]}
