"""State of pipelines without a load plan, kept as files: state/meltano/<state id>.json below the project root."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from target_iceberg.load_plan import project_root


def _directory() -> Path:
    return project_root() / "state" / "meltano"


def _file(state_id: str) -> Path:
    return _directory() / f"{quote(state_id, safe='')}.json"


def read_plain(state_id: str) -> dict[str, Any]:
    """Singer state of a pipeline, {} when it never ran."""
    try:
        state: dict[str, Any] = json.loads(_file(state_id).read_bytes())
    except FileNotFoundError:
        return {}
    return state


def write_plain(state_id: str, state: dict[str, Any]) -> None:
    """Keep the Singer state of a pipeline, atomically."""
    _directory().mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=_directory(), prefix=".state-")
    with os.fdopen(fd, "w") as f:
        json.dump(state, f)
    Path(name).replace(_file(state_id))


def delete_plain(state_id: str) -> None:
    """Forget a pipeline's state."""
    _file(state_id).unlink(missing_ok=True)


def plain_ids() -> list[str]:
    """State ids of all pipelines that ran."""
    return sorted(unquote(f.stem) for f in _directory().glob("*.json")) if _directory().is_dir() else []
