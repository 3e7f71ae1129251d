"""Meltano's log lines, and the plugins' lines inside them, as events of the run."""

from __future__ import annotations

import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT_LINES = 20
_LEVEL_WORD = re.compile(r"\b(CRITICAL|ERROR|WARNING|WARN|DEBUG)\b")
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Exit|Interrupt)\b(?::|$)")
_SDK_TALK = re.compile(
    r"Meltano SDK v|Skipping parse of env var settings|Validating config using jsonschema|Beginning sync of|"
    r"Target '[^']*' is listening|No records were written|METRIC"
)
"""What every plugin made with the Singer SDK says of itself."""
_NOISE = re.compile(
    r"^No state was found, complete import|DeprecationWarning|^Block run completed$|"
    r"^(?:Extractor|Loader|Extractor and loader|Mappers) failed$"
)
"""What Meltano warns of though it is ordinary here, or says of a plugin that has said it better itself."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, before it is stamped with time and run."""

    event_type: str
    level: str
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Relay:
    """Turns lines into events and remembers what is needed when no run report comes."""

    emit: Callable[[Event], None]
    last_errors: dict[str, deque[str]] = field(default_factory=dict)
    """Component (tap, target, meltano) -> its last error lines."""
    last_lines: dict[str, deque[str]] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    """extractors, loaders -> exit code, as Meltano saw it."""

    def line(self, line: str) -> None:
        """Take one line of Meltano's output."""
        outer = _json_object(line)
        if outer is None:
            self._plain("meltano", line, default="debug")
        elif "string_id" in outer or outer.get("cmd_type") == "elb" or "stdio" in outer:
            self._plugin_line(outer)
        else:
            self._meltano_line(outer)

    def reason(self) -> str | None:
        """The best explanation of a failure: the tap's or target's last error, else the last thing that it said."""
        for lines in (self.last_errors, self.last_lines):
            for component in ("tap", "target", "meltano"):
                if lines.get(component):
                    return f"{component}: {lines[component][-1]}"
        return None

    def _meltano_line(self, outer: dict[str, Any]) -> None:
        message = str(outer.get("event", "")).strip()
        level = str(outer.get("level", "info"))
        if isinstance(outer.get("exit_codes"), dict):
            self.exit_codes.update({str(k): int(v) for k, v in outer["exit_codes"].items()})
        if message.startswith("Need help fixing this problem") or not message:
            return
        if level == "info" or _NOISE.search(message):
            level = "debug"
        self._remember("meltano", level, message)
        if outer.get("err"):
            message = f"{message}: {outer['err']}"
        self.emit(Event("meltano", level, message, {"component": "meltano"}))

    def _plugin_line(self, outer: dict[str, Any]) -> None:
        if outer.get("stdio") == "stdout":
            return  # Singer messages, which Meltano shows when debugging: they hold the data itself
        component = _component(outer)
        text = str(outer.get("event", "")).rstrip()
        inner = _json_object(text)
        if inner is None or "message" not in inner:
            self._plain(component, text, default="info")
            return
        message = str(inner.pop("message"))
        level = str(inner.pop("level", "info")).lower()
        if level == "info" and _SDK_TALK.search(message):
            level = "debug"
        event_type = str(inner.pop("event_type", "plugin"))
        self._remember(component, level, message)
        self.emit(Event(event_type, level, message, {**inner, "component": component}))

    def _plain(self, component: str, text: str, *, default: str) -> None:
        if not text.strip():
            return
        level = _guess_level(text) or ("debug" if _SDK_TALK.search(text) else default)
        self._remember(component, level, text.strip())
        self.emit(Event("plugin" if component != "meltano" else "meltano", level, text, {"component": component}))

    def _remember(self, component: str, level: str, message: str) -> None:
        self.last_lines.setdefault(component, deque(maxlen=KEPT_LINES)).append(message)
        if level in ("error", "critical"):
            self.last_errors.setdefault(component, deque(maxlen=KEPT_LINES)).append(message)


def _component(outer: dict[str, Any]) -> str:
    if outer.get("producer"):
        return "tap"
    if outer.get("consumer"):
        return "target"
    return str(outer.get("name") or "meltano")


def _json_object(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _guess_level(text: str) -> str | None:
    word = _LEVEL_WORD.search(text[:80])
    if word:
        return {"WARN": "warning"}.get(word[1], word[1].lower())
    return "error" if _EXCEPTION.match(text) else None
