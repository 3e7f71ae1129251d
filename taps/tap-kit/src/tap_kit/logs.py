"""Log lines on stderr: readable text, or one JSON object per line when DATIVO_LOG_FORMAT=json."""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import datetime, timezone
from typing import Any

FORMAT_ENV = "DATIVO_LOG_FORMAT"
_EVENT = "event_type"
_FIELDS = "event_fields"


def configure(name: str) -> None:
    """Send the log of this process to stderr; the level comes from TAP_X_LOGLEVEL or LOGLEVEL, as in every SDK tap."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if os.environ.get(FORMAT_ENV) == "json" else TextFormatter())
    handler.addFilter(_is_worth_a_line)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    prefix = name.upper().replace("-", "_")
    level = (os.environ.get(f"{prefix}_LOGLEVEL") or os.environ.get("LOGLEVEL") or "INFO").upper()
    root.setLevel(level if isinstance(logging.getLevelName(level), int) else "INFO")


def event(logger: logging.Logger, event_type: str, message: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Log something a program may react to: its kind, a sentence for people, and the facts as fields."""
    logger.log(level, "%s", message, extra={_EVENT: event_type, _FIELDS: fields})


class JsonFormatter(logging.Formatter):
    """One JSON object: time, level, event_type (log when it is none of ours), message, and the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line without its newline."""
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event_type": getattr(record, _EVENT, "log"),
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """`LEVEL message`."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not the SDK's figures for each stream and timer, since our events carry the counts; and not its notice that an
    error has passed by, since whoever catches it tells what it is."""
    if record.name == "singer_sdk.metrics":
        return record.levelno > logging.INFO
    return not str(record.msg).startswith("An unhandled error occurred while syncing")
