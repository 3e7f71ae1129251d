"""Readers that work ahead."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tap_kit.database.merged import merged

if TYPE_CHECKING:
    from collections.abc import Iterator

LONG_S = 30


def test_a_reader_goes_on_while_its_last_item_is_worked_on() -> None:
    asked = threading.Event()

    def source() -> Iterator[int]:
        yield 1
        asked.set()
        yield 2

    with merged([source()]) as items:
        assert next(items) == 1
        assert asked.wait(LONG_S)
        assert list(items) == [2]


def test_a_reader_is_not_further_ahead_than_there_is_room() -> None:
    made: list[int] = []
    third = threading.Event()

    def source() -> Iterator[int]:
        for n in range(100):
            made.append(n)
            if n == 2:
                third.set()
            yield n

    with merged([source()]) as items:
        assert third.wait(LONG_S)
        assert len(made) == 3  # two that wait, and one for which there is no room
        assert list(items) == list(range(100))


def test_an_error_comes_behind_the_items_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("gone")

    taken = []
    with merged([source()]) as items:
        taken += [next(items), next(items)]
        with pytest.raises(OSError, match="gone"):
            next(items)
    assert taken == [1, 2]


def test_readers_end_when_nobody_takes_any_more() -> None:
    before = threading.active_count()

    def source() -> Iterator[int]:
        while True:
            yield 1

    with merged([source(), source()]) as items:
        assert next(items) == 1
        assert threading.active_count() == before + 2
    assert threading.active_count() == before
