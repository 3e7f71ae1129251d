"""The libraries that rows need, imported by a thread of their own while the tap looks for the first row."""

from __future__ import annotations

import threading


class Libraries:
    """What staging and publishing need. Whoever wants to use it waits until it is there.

    Modules of these libraries import each other in circles. Two threads that enter such a circle at two places wait for each
    other, which Python ends with an error in one of them: so there is never more than one that imports them.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def load(self) -> None:
        """Begin, unless it has begun."""
        if self._thread is None:
            self._thread = threading.Thread(target=_load, name="load", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Return when what has begun is done."""
        if self._thread is not None:
            self._thread.join()


def _load() -> None:
    import target_iceberg.singer.finish
    import target_iceberg.singer.stream  # noqa: F401
