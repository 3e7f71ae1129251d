"""The ledger owns stdout: STATE leaves it only when everything before it is published.

Libraries print (PyIceberg writes tables to stdout), and a line on stdout would be read as STATE; so descriptor 1 is
duplicated for the ledger and everybody else's stdout becomes stderr.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


class Ledger:
    """Holds the latest STATE until it may leave."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self.latest: Any = None
        self._left: Any = None

    def hold(self, state: Any) -> None:
        """Take a STATE value; an older one that has not left is superseded."""
        self.latest = state

    def release(self) -> None:
        """Write the latest STATE: all rows before it are published."""
        if self.latest is not self._left:
            self._out.write(json.dumps(self.latest) + "\n")
            self._out.flush()
            self._left = self.latest


@contextmanager
def owned_stdout() -> Iterator[IO[str]]:
    """Give the real stdout to the caller alone; prints go to stderr meanwhile."""
    if sys.stdout is not sys.__stdout__:  # a caller has put a stream of its own there, as test runners do
        out, sys.stdout = sys.stdout, sys.stderr
        try:
            yield out
        finally:
            sys.stdout = out
        return
    original: Any = sys.stdout
    original.flush()
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as real:
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        try:
            yield real
        finally:
            real.flush()
            os.dup2(real.fileno(), 1)
            sys.stdout = original
