"""Whatever is killed, and whenever: no table is ever half loaded, and after the next run each record is there once.

`make crash POINTS=200` kills at 200 points; the whole suite at a few.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest

pytestmark = [pytest.mark.smoke, pytest.mark.timeout(3600)]
POINTS = int(os.environ.get("POINTS", "18"))
SEED = int(os.environ.get("SEED") or 0) or random.SystemRandom().randrange(1, 1 << 30)
CASES = [(mode, streams) for mode in ("append", "upsert", "replace") for streams in (1, 3)]
LONGEST_S = 4.0


@pytest.mark.parametrize(("mode", "streams"), CASES)
def test_kills_lose_and_double_nothing(world: Any, stages: tuple[str, ...], mode: str, streams: int) -> None:
    it = world(mode, streams, SEED + CASES.index((mode, streams)))
    points, killed = -(-POINTS // len(CASES)), 0
    pending = list(stages) * (1 + points // len(stages))
    it.random.shuffle(pending)
    it.change()
    if it.random.random() < 0.5:  # otherwise the very first load, which makes the tables, is killed too
        it.run()
    while killed < points:
        it.change()
        for _ in range(it.random.choice([1, 1, 2])):
            choice = it.random.random()
            if choice < 0.5:
                it.kill_at_stage(pending.pop() if pending else it.random.choice(stages))
            elif choice < 0.85:
                it.kill_at_random(LONGEST_S)
            else:
                it.race(LONGEST_S)
            killed += 1
            it.check_nothing_half_done()
        it.run()
        it.check_all_loaded()
        it.check_reports()
