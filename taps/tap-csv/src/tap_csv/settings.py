"""The settings of tap-csv: their JSON Schema, and what they mean once the cascade entry < tap < default is resolved."""

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_kit.errors import TapError
from tap_kit.lanes import BATCH_CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT_ROOT_ENV = "DATIVO_PROJECT_ROOT"
_NAMED_DELIMITERS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}

_DIALECT: dict[str, dict[str, Any]] = {
    "encoding": {
        "type": "string",
        "default": "utf-8",
        "description": "Text encoding: utf-8, utf-16, latin-1 or any other that Python knows, or auto. A byte order mark wins.",
    },
    "delimiter": {
        "type": "string",
        "default": ",",
        "description": "One ASCII character between fields, or one of the words tab, comma, semicolon, pipe, space.",
    },
    "quotechar": {
        "type": "string",
        "default": '"',
        "description": "One ASCII character around fields, doubled inside them; empty for files without quoting.",
    },
    "header": {
        "type": ["integer", "boolean"],
        "default": 1,
        "description": "Line that holds the column names (lines before it are skipped); false: there is none, columns are c1, c2, ...",
    },
    "null_values": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "Unquoted texts that mean NULL, besides the empty text.",
    },
}

_ENTRY: dict[str, dict[str, Any]] = {
    "path": {"type": "string", "description": "A file or a glob pattern (** crosses directories)."},
    "paths": {"type": "array", "items": {"type": "string"}, "description": "Several of them."},
    "object": {"type": "string", "description": "Name of the stream; default: the file's name without its extensions."},
    "stream": {"type": "string", "description": "The same as `object`."},
    "keys": {"type": "array", "items": {"type": "string"}, "description": "Key properties that discovery suggests."},
}

CONFIG_JSONSCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["files"],
    "properties": {
        "files": {
            "type": "array",
            "minItems": 1,
            "description": "What to read: entries of path or paths, object, keys, and any of encoding, delimiter, quotechar, "
            "header, null_values for these files alone.",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "anyOf": [{"required": ["path"]}, {"required": ["paths"]}],
                "properties": {
                    **_ENTRY,
                    **{name: {k: v for k, v in d.items() if k != "default"} for name, d in _DIALECT.items()},
                },
            },
        },
        "base_path": {
            "type": "string",
            "description": "Directory that relative paths start from; default: $DATIVO_PROJECT_ROOT, else the working directory.",
        },
        **_DIALECT,
        "start_date": {
            "type": "string",
            "format": "date-time",
            "description": "Files that were modified before this moment are not read.",
        },
        "batch_config": BATCH_CONFIG,
        "rejects": {
            "type": "string",
            "enum": ["fail", "emit"],
            "default": "fail",
            "description": "A record that cannot be brought into shape (ragged, undecodable): fail stops with an error; emit sends "
            "a DATIVO_REJECT message, and values that do not fit their type as they are, and reads on.",
        },
    },
}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How the bytes of a file become records."""

    encoding: str
    """Python's name of a codec, or auto."""
    delimiter: str
    quotechar: str
    """One character, or empty."""
    header: int
    """Line of the column names, counted from 1; 0 for none."""
    null_values: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FileSet:
    """One entry of `files`."""

    stream: str
    patterns: tuple[str, ...]
    keys: tuple[str, ...]
    dialect: Dialect


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything the tap was told."""

    file_sets: tuple[FileSet, ...]
    base: Path
    start_date: datetime | None
    emits_rejects: bool

    def of_stream(self, stream: str) -> tuple[FileSet, ...]:
        """The entries that feed a stream."""
        return tuple(s for s in self.file_sets if s.stream == stream)

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the streams, in the order of the configuration."""
        return tuple(dict.fromkeys(s.stream for s in self.file_sets))


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Resolve a configuration that has passed CONFIG_JSONSCHEMA.

    Raises:
        TapError: names the setting and what it may be.
    """
    root = Path(os.environ.get(PROJECT_ROOT_ENV) or Path.cwd())
    return Settings(
        file_sets=tuple(_file_set(entry, config, f"files[{n}]") for n, entry in enumerate(config["files"])),
        base=root / (config.get("base_path") or ""),
        start_date=_moment(config.get("start_date")),
        emits_rejects=config.get("rejects") == "emit",
    )


def _file_set(entry: Mapping[str, Any], config: Mapping[str, Any], where: str) -> FileSet:
    patterns = (*([entry["path"]] if entry.get("path") else []), *entry.get("paths", ()))
    if not patterns:
        raise TapError(f"{where}: path is empty; name a file or a glob pattern")
    stream = entry.get("object") or entry.get("stream") or _stem(patterns[0])
    if not stream:
        raise TapError(f"{where}: no stream name can be made of {patterns[0]!r}; add object: <name>")
    return FileSet(
        stream=stream,
        patterns=patterns,
        keys=tuple(entry.get("keys", ())),
        dialect=_dialect({**config, **{k: v for k, v in entry.items() if v is not None}}, where),
    )


def _stem(pattern: str) -> str:
    """orders for data/orders.csv.gz; for a pattern what stands before its first wildcard."""
    name = Path(pattern).name.split(".", 1)[0]
    for wildcard in "*?[":
        name = name.split(wildcard, 1)[0]
    return name.rstrip("_-")


def _dialect(config: Mapping[str, Any], where: str) -> Dialect:
    delimiter = config.get("delimiter") or ","
    return Dialect(
        encoding=_encoding(config.get("encoding") or "utf-8", where),
        delimiter=_character(_NAMED_DELIMITERS.get(delimiter, delimiter), "delimiter", where),
        quotechar=_character(config.get("quotechar", '"') or "", "quotechar", where, may_be_empty=True),
        header=_header(config.get("header", 1), where),
        null_values=tuple(config.get("null_values") or ()),
    )


def _encoding(name: str, where: str) -> str:
    if name == "auto":
        return name
    try:
        return codecs.lookup(name).name
    except LookupError as e:
        raise TapError(f"{where}: unknown encoding {name!r}; use utf-8, utf-16, latin-1, cp1252, ... or auto") from e


def _character(text: str, setting: str, where: str, *, may_be_empty: bool = False) -> str:
    if (may_be_empty and not text) or (len(text) == 1 and text.isascii() and text not in "\r\n\0"):
        return text
    raise TapError(f"{where}: {setting} {text!r} must be one ASCII character and no line end")


def _header(value: Any, where: str) -> int:
    if isinstance(value, bool):
        return int(value)
    if value < 1:
        raise TapError(f"{where}: header {value} must be a line number from 1 on, or false")
    return int(value)


def _moment(text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError as e:
        raise TapError(f"start_date {text!r} is not a date or timestamp, e.g. 2024-01-31T00:00:00Z") from e
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
