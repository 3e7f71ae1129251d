"""Log events on stderr: one JSON object a line when Dativo asks for it, readable text otherwise."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from typing import Any

FORMAT_ENV = "DATIVO_LOG_FORMAT"


def is_for_programs() -> bool:
    """Whether a program reads the events, which shows a person what it thinks best."""
    return os.environ.get(FORMAT_ENV) == "json"


def event(event_type: str, message: str, *, level: str = "info", **fields: Any) -> None:
    """Write one event. Values must not hold secrets or values of classified columns."""
    if is_for_programs():
        now = dt.datetime.now(tz=dt.timezone.utc).isoformat(timespec="milliseconds")
        line = json.dumps(
            {"event_type": event_type, "level": level, "time": now, "message": message, **fields}, default=str
        )
    elif event_type == "progress":
        return
    else:
        extra = "".join(f" {k}={v}" for k, v in fields.items() if v is not None)
        line = f"{level.upper()} {message}{extra}"
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
