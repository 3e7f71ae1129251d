"""What whoever starts the tap has said of its state, beside the state itself."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

ORIGIN_ENV = "DATIVO_STATE_ORIGIN"
"""Names a file: {"origin": "lake" or "checkpoint", "new": [streams]}."""


@dataclass(frozen=True)
class StateOrigin:
    """Nothing is known unless somebody says it."""

    is_lake: bool = False
    """The lake has published all that the state says was read."""
    new: frozenset[str] = frozenset()
    """Streams of whose tables the lake has no rows."""


def state_origin() -> StateOrigin:
    """What the file says, if there is one."""
    named = os.environ.get(ORIGIN_ENV)
    try:
        said = json.loads(Path(named).read_bytes()) if named else {}
    except FileNotFoundError:
        said = {}
    return StateOrigin(said.get("origin") == "lake", frozenset(said.get("new") or ()))
