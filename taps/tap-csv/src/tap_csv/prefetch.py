"""Work ahead in a thread: what lets go of the interpreter's lock (reading, hashing, numpy, Arrow) then runs side by side."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")
_AHEAD = 2


def prefetched(items: Iterator[T]) -> Iterator[T]:
    """The items in their order, made up to two ahead; what making them raises is raised in its place."""
    waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(_AHEAD)
    stopped = threading.Event()
    end = object()

    def put(item: Any, error: BaseException | None = None) -> bool:
        while not stopped.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
        except BaseException as e:  # noqa: BLE001  carried to the thread that asks and raised there
            put(None, e)
        else:
            put(end)

    thread = threading.Thread(target=work, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
