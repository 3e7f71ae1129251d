"""Reads from a connection while what has come is worked on, so that the server need not wait for that; never more than has room."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

AHEAD_BYTES = 8 << 20


class Ahead:
    """A ring of bytes that a thread fills.

    Args:
        read_into: reads at least a byte into a place and says how many; raises when there will be no more.
        interrupt: makes a `read_into` that waits return or raise.
    """

    def __init__(self, read_into: Callable[[memoryview], int], interrupt: Callable[[], None]) -> None:
        self._read_into, self._interrupt = read_into, interrupt
        self._ring = memoryview(bytearray(AHEAD_BYTES))
        self._begin = self._count = 0
        self._error: BaseException | None = None
        self._is_stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._fill, name="read ahead", daemon=True)
        self._thread.start()

    def take(self, place: memoryview) -> int:
        """Move what has come into a place, at least a byte; how many.

        Raises:
            Exception: what `read_into` has raised, behind all that came before.
        """
        with self._changed:
            while not self._count and self._error is None:
                self._changed.wait()
            if not self._count and self._error is not None:
                raise self._error
            n = min(len(place), self._count, len(self._ring) - self._begin)
        place[:n] = self._ring[self._begin : self._begin + n]  # where the thread writes nothing
        with self._changed:
            self._begin, self._count = (self._begin + n) % len(self._ring), self._count - n
            self._changed.notify()
        return n

    def stop(self) -> None:
        """End the thread. What it has read and nobody has taken is lost, so the connection is of no use any more."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()
        self._interrupt()
        self._thread.join()

    def _fill(self) -> None:
        try:
            while (room := self._room()) is not None:
                n = self._read_into(room)
                with self._changed:
                    self._count += n
                    self._changed.notify()
        except Exception as e:  # noqa: BLE001  raised by `take`, in the thread of whoever reads
            with self._changed:
                self._error = e
                self._changed.notify()

    def _room(self) -> memoryview | None:
        """Where the next bytes go; None: nobody wants any."""
        with self._changed:
            while self._count == len(self._ring) and not self._is_stopped:
                self._changed.wait()
            end = (self._begin + self._count) % len(self._ring)
            until = self._begin if end < self._begin else len(self._ring)
            return None if self._is_stopped else self._ring[end:until]
