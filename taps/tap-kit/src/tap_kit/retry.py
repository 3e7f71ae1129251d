"""Asking again: full jitter and a deadline, not a count of attempts."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field

_FIRST_S = 0.5
_LONGEST_S = 20.0


@dataclass
class Patience:
    """How long a source that does not answer is asked again. Whoever gets somewhere begins anew with `renew`."""

    seconds: float = 120.0
    _attempts: int = 0
    _ends_at: float = field(default=0.0)

    def is_left(self) -> bool:
        """Wait a while, and True; False at once when the time is over."""
        now = time.monotonic()
        if not self._attempts:
            self._ends_at = now + self.seconds
        self._attempts += 1
        wait = random.uniform(0, min(_LONGEST_S, _FIRST_S * 2**self._attempts))  # noqa: S311  spreads load, hides nothing
        if now + wait > self._ends_at:
            return False
        time.sleep(wait)
        return True

    def renew(self) -> None:
        """The source has answered."""
        self._attempts = 0
