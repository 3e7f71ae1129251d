"""Settings that taps of databases share: as JSON Schemas, and as values for the streams."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tap_kit.lanes import BATCH_CONFIG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NullCursor = Literal["load_once", "every_run", "error"]
DEFAULT_CHUNK_ROWS = 500_000
MAX_PARALLEL = 16
TEXT: dict[str, Any] = {"type": ["string", "null"]}
NUMBER: dict[str, Any] = {"type": ["number", "string", "null"]}
_NAMES: dict[str, Any] = {"type": ["array", "null"], "items": {"type": "string"}}


def _objects(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": required, "additionalProperties": False, "properties": properties}


_CURSOR = {**TEXT, "description": "Column that grows with every change."}
SETTINGS: dict[str, dict[str, Any]] = {
    "tables": {
        "type": ["array", "null"],
        "description": "Tables, views and the like to read: names, patterns like public.*, or objects.",
        "items": {
            "anyOf": [
                {"type": "string"},
                _objects(
                    ["name"],
                    name={"type": "string", "description": 'schema.table, quoted where needed: public."Odd.Name".'},
                    object={**TEXT, "description": "Name of the stream; without it the table's name."},
                    cursor_field=_CURSOR,
                ),
            ]
        },
    },
    "exclude": {**_NAMES, "description": "Names or patterns that the patterns of tables do not mean."},
    "queries": {
        "type": ["array", "null"],
        "description": "Queries to read as if they were tables.",
        "items": _objects(
            ["name", "sql"],
            name={"type": "string", "description": "Name of the stream."},
            sql={"type": "string", "description": "One SELECT without a semicolon."},
            key={
                "type": ["array", "string", "null"],
                "items": {"type": "string"},
                "description": "Columns of its key.",
            },
            cursor_field=_CURSOR,
        ),
    },
    "lookback_days": {**NUMBER, "description": "Read so many days before the bookmark again."},
    "lookback_hours": {**NUMBER, "description": "Read so many hours before the bookmark again."},
    "lookback_seconds": {**NUMBER, "description": "Read so many seconds before the bookmark again."},
    "null_cursor": {
        **TEXT,
        "enum": ["load_once", "every_run", "error", None],
        "description": "Rows whose cursor is NULL or infinite: load_once (with the first load, the default), every_run, or error.",
    },
    "detect_deletes": {
        **TEXT,
        "enum": ["keys", None],
        "description": "keys: compare the keys of the table with those of the last run, and delete what is not there any more.",
    },
    "start_date": {**TEXT, "description": "Read nothing whose cursor is older, unless a bookmark says more."},
    "chunk_rows": {
        **NUMBER,
        "description": f"About how many rows of a load lie between two bookmarks; {DEFAULT_CHUNK_ROWS:,} unless given.",
    },
    "retry_s": {**NUMBER, "description": "How long a server that does not answer is asked again; 120 unless given."},
    "batch_config": BATCH_CONFIG,
}
"""JSON Schemas of the settings."""


@dataclass(frozen=True)
class Item:
    """One table or query to read."""

    stream: str
    schema: str = ""
    name: str = ""
    sql: str | None = None
    """A query instead of a table."""
    key: tuple[str, ...] = ()
    """Of a query."""
    cursor: str | None = None

    @property
    def shown(self) -> str:
        """As messages name it."""
        return f"query {self.stream}" if self.sql is not None else f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Pattern:
    """All tables of a schema whose names match."""

    schema: str
    name: str
    cursor: str | None
    shown: str

    def matches(self, table: str) -> bool:
        """Whether a table of the schema is meant."""
        return fnmatch.fnmatchcase(table, self.name)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to read, and how."""

    items: tuple[Item, ...]
    patterns: tuple[Pattern, ...]
    exclude: tuple[tuple[str, str], ...]
    lookback_s: float
    null_cursor: NullCursor
    detects_deletes: bool
    """By their keys."""
    start_date: str | None
    chunk_rows: int
    parallel: int
    retry_s: float

    def is_excluded(self, schema: str, table: str) -> bool:
        """Whether `exclude` names a table."""
        return any(fnmatch.fnmatchcase(schema, s) and fnmatch.fnmatchcase(table, t) for s, t in self.exclude)


def read_reading(config: Mapping[str, Any], default_schema: str, quote: str, problems: list[str]) -> Reading:
    """Read the shared part of a configuration that fits its JSON Schema; what is wrong is appended to `problems`."""
    items: list[Item] = []
    patterns: list[Pattern] = []
    for entry in config.get("tables") or ():
        said = {"name": entry} if isinstance(entry, str) else entry
        parts = split_name(str(said["name"]), quote)
        if parts is None or not 1 <= len(parts) <= 2:
            problems.append(
                f"tables: {said['name']!r} is no name of a table; write schema.table, quoted where needed: "
                f"{default_schema}.{quote}Odd.Name{quote}"
            )
            continue
        schema, (name, is_quoted) = parts[0][0] if len(parts) == 2 else default_schema, parts[-1]
        cursor = said.get("cursor_field")
        if not is_quoted and re.search(r"[*?\[]", name):
            patterns.append(Pattern(schema, name, cursor, str(said["name"])))
        else:
            items.append(Item(said.get("object") or name, schema, name, cursor=cursor))
    for query in config.get("queries") or ():
        key = query.get("key") or ()
        sql = str(query["sql"]).strip().rstrip(";").strip()
        if not sql:
            problems.append(f"queries: {query['name']} has no sql")
        items.append(
            Item(
                query["name"],
                sql=sql,
                key=(key,) if isinstance(key, str) else tuple(key),
                cursor=query.get("cursor_field"),
            )
        )
    if not items and not patterns:
        problems.append("tables and queries name nothing to read")
    streams = [item.stream for item in items]
    problems += [
        f"two tables would be the stream {name}; give one an object"
        for name in sorted({s for s in streams if streams.count(s) > 1})
    ]
    days, hours, seconds = (number(config, f"lookback_{unit}", 0, problems) for unit in ("days", "hours", "seconds"))
    return Reading(
        items=tuple(items),
        patterns=tuple(patterns),
        exclude=tuple(_excluded(config.get("exclude") or (), default_schema, quote)),
        lookback_s=days * 86_400 + hours * 3_600 + seconds,
        null_cursor=config.get("null_cursor") or "load_once",
        detects_deletes=config.get("detect_deletes") == "keys",
        start_date=config.get("start_date"),
        chunk_rows=max(1, int(number(config, "chunk_rows", DEFAULT_CHUNK_ROWS, problems))),
        parallel=min(MAX_PARALLEL, max(1, int(number(config, "parallel", 1, problems)))),
        retry_s=number(config, "retry_s", 120, problems),
    )


def _excluded(names: Sequence[str], default_schema: str, quote: str) -> list[tuple[str, str]]:
    found = []
    for name in names:
        parts = split_name(name, quote) or [(name, False)]
        found.append((parts[-2][0] if len(parts) > 1 else default_schema, parts[-1][0]))
    return found


def split_name(text: str, quote: str) -> list[tuple[str, bool]] | None:
    """The parts of a name that dots separate, each with whether it was quoted; None where it is no name."""
    part = re.compile(rf"\s*(?:{quote}((?:[^{quote}]|{quote}{quote})+){quote}|([^{quote}.]+))\s*")
    parts, at = [], 0
    while True:
        found = part.match(text, at)
        if found is None:
            return None
        is_quoted = found[1] is not None
        parts.append((found[1].replace(quote * 2, quote) if is_quoted else found[2].strip(), is_quoted))
        at = found.end()
        if at == len(text):
            return parts
        if text[at] != ".":
            return None
        at += 1


def number(config: Mapping[str, Any], name: str, default: float, problems: list[str]) -> float:
    """A number from 0 on, also where it is written as text."""
    value = config.get(name)
    if value in (None, ""):
        return default
    try:
        found = float(str(value))
    except ValueError:
        found = -1
    if found < 0:
        problems.append(f"{name}: {value!r} is no number from 0 on")
        return default
    return found
