"""Readers at work while what came before is worked on. The rows of several come as one sequence, in no particular order."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")
_POLL_S = 0.1
_AHEAD = 2
"""Items that each reader may be ahead of whoever takes them."""


@contextmanager
def merged(sources: Sequence[Iterator[T]]) -> Iterator[Iterator[T]]:
    """All items of all sources, each of them read by a thread of its own.

    The first error of a source is raised where the items are taken. The threads have ended when the block ends.
    """
    queue: Queue[tuple[T | None, BaseException | None]] = Queue(maxsize=_AHEAD * len(sources))
    stop = threading.Event()

    def put(item: T | None, error: BaseException | None) -> bool:
        while not stop.is_set():
            try:
                queue.put((item, error), timeout=_POLL_S)
            except Full:
                continue
            return True
        return False

    def run(source: Iterator[T]) -> None:
        try:
            for item in source:
                if not put(item, None):
                    return
            put(None, None)
        except BaseException as e:  # noqa: BLE001  it is raised again by whoever takes the items
            put(None, e)

    threads = [threading.Thread(target=run, args=(s,), daemon=True) for s in sources]
    for thread in threads:
        thread.start()
    try:
        yield _taken(queue, len(threads))
    finally:
        stop.set()
        with suppress(Empty):
            while True:
                queue.get_nowait()
        for thread in threads:
            thread.join()


def _taken(queue: Queue[tuple[T | None, BaseException | None]], readers: int) -> Iterator[T]:
    while readers:
        item, error = queue.get()
        if error is not None:
            raise error
        if item is None:
            readers -= 1
        else:
            yield item
