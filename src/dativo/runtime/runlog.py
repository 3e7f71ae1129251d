"""Events of runs, shown either as JSON lines, as text, or on a terminal display; never two of them at once."""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TextIO

from dativo.runtime.relay import Event

if TYPE_CHECKING:
    from collections.abc import Callable

    from dativo.runtime.redaction import Redactor

LogFormat = Literal["auto", "json", "text"]
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
PROGRESS_EVERY_S = 10.0
"""Progress lines where there is no display; the target sends twenty times as many."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """An event with everything that identifies it."""

    time: str
    tenant: str | None
    job: str | None
    run_id: str | None
    event: Event

    def as_dict(self) -> dict[str, Any]:
        """Keys in the order in which people look for them; what identifies the event is never overwritten."""
        identity = {"tenant": self.tenant, "job": self.job, "run_id": self.run_id}
        head = {"time": self.time, "level": self.event.level, "event_type": self.event.event_type}
        head |= {k: v for k, v in identity.items() if v is not None} | {"message": self.event.message}
        return head | {k: v for k, v in self.event.fields.items() if k not in head}


class Output(Protocol):
    """One way to show events."""

    def show(self, stamped: Stamped) -> None:
        """Show one event that passed the level."""

    def close(self) -> None:
        """Leave the terminal as it was found."""


class RunLog:
    """Where events of one process go: levelled, stamped, free of secrets."""

    def __init__(self, output: Output, *, level: str = "info") -> None:
        self._output = output
        self.level = level
        self._lock = threading.Lock()

    def bind(self, *, tenant: str, job: str, run_id: str, redactor: Redactor, level: str | None = None) -> JobLog:
        """The log of one run of one job."""
        return JobLog(self, tenant=tenant, job=job, run_id=run_id, redactor=redactor, level=level or self.level)

    def emit(self, event: Event) -> None:
        """An event of no job."""
        self.pass_on(Stamped(_now(), None, None, None, event), self.level)

    def pass_on(self, stamped: Stamped, level: str) -> None:
        """Show an event if it is important enough."""
        if LEVELS.get(stamped.event.level, 20) >= LEVELS[level]:
            with self._lock:
                self._output.show(stamped)

    def close(self) -> None:
        """End the display."""
        with self._lock:
            self._output.close()


class JobLog:
    """Events of one run."""

    def __init__(self, log: RunLog, *, tenant: str, job: str, run_id: str, redactor: Redactor, level: str) -> None:
        self._log = log
        self._tenant, self._job, self._run_id = tenant, job, run_id
        self._redactor = redactor
        self._level = level

    def emit(self, event: Event) -> None:
        """Take secrets out and show it."""
        clean = Event(
            event.event_type,
            event.level if event.level in LEVELS else "info",
            self._redactor.text(event.message),
            self._redactor.value(event.fields) if event.fields else {},
        )
        self._log.pass_on(Stamped(_now(), self._tenant, self._job, self._run_id, clean), self._level)

    def say(self, event_type: str, message: str, *, level: str = "info", **fields: Any) -> None:
        """Emit in one line."""
        self.emit(Event(event_type, level, message, fields))


class _Sparse:
    """Lets a progress event of each stream through only so often."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last: dict[tuple[Any, ...], float] = {}

    def wants(self, stamped: Stamped) -> bool:
        if stamped.event.event_type != "progress":
            return True
        key = (stamped.run_id, stamped.event.fields.get("stream"))
        now = self._clock()
        if key not in self._last:
            self._last[key] = now
            return False
        if now - self._last[key] < PROGRESS_EVERY_S:
            return False
        self._last[key] = now
        return True


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._sparse = _Sparse()

    def show(self, stamped: Stamped) -> None:
        """Write the event."""
        if self._sparse.wants(stamped):
            self._stream.write(json.dumps(stamped.as_dict(), ensure_ascii=False, default=str) + "\n")
            self._stream.flush()

    def close(self) -> None:
        """Nothing is held open."""


class TextLines:
    """One readable line an event."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._sparse = _Sparse()

    def show(self, stamped: Stamped) -> None:
        """Write the event."""
        if not self._sparse.wants(stamped):
            return
        event = stamped.event
        where = f"{stamped.tenant}/{stamped.job}: " if stamped.job else ""
        component = f"[{event.fields['component']}] " if "component" in event.fields else ""
        self._stream.write(f"{stamped.time[11:19]} {event.level.upper():<7} {where}{component}{text_of(event)}\n")
        if "traceback" in event.fields:  # of an error that nobody expected, and that is to be reported
            self._stream.write(f"{event.fields['traceback']}\n")
        self._stream.flush()

    def close(self) -> None:
        """Nothing is held open."""


def text_of(event: Event) -> str:
    """The message; progress in numbers."""
    if event.event_type == "progress" and "records" in event.fields:
        f = event.fields
        return f"{f.get('stream', '')}: {f['records']:,} records, {f.get('rejected', 0):,} rejected"
    return event.message


def open_log(log_format: LogFormat, level: str, stream: TextIO | None = None) -> RunLog:
    """The log that fits the format and the terminal: auto is a display on a terminal and JSON lines elsewhere."""
    stream = sys.stderr if stream is None else stream
    if log_format == "auto" and stream.isatty():
        from dativo.runtime.display import Display

        return RunLog(Display(stream), level=level)
    if log_format == "text":
        return RunLog(TextLines(stream), level=level)
    return RunLog(JsonLines(stream), level=level)


def _now() -> str:
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
