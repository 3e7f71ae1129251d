"""Names of a database's tables as jobs and contracts write them: `schema.table`, in the database's quotes where a part needs them."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

_QUOTED = r'"((?:[^"]|"")*)"|`((?:[^`]|``)*)`'
_PART = re.compile(rf'\s*(?:{_QUOTED}|([^".`]+))\s*(?:\.|$)')
_WILD = re.compile(r"[*?\[]")
UNSAFE = re.compile(r"[\x00-\x1f\x7f@#?:/\\`\"'.\s]")
"""What lake catalogs refuse or misread in the name of a table."""


def parts(name: str) -> list[str]:
    """The parts of a name without quotes, one at least; the whole where it is no such name."""
    found, at = [], 0
    while at < len(name):
        match = _PART.match(name, at)
        if match is None:
            return [name]
        double, back, plain = match.groups()
        found.append(plain.strip() if plain else (double or "").replace('""', '"') or (back or "").replace("``", "`"))
        at = match.end()
    return found or [name]


def is_pattern(name: str) -> bool:
    """Whether a name means several tables."""
    return _WILD.search(re.sub(_QUOTED, "", name)) is not None


def means(pattern: str, table: str, default_schema: str | None) -> bool:
    """Whether a pattern, or a name, means a table.

    Args:
        pattern: as a job writes it.
        table: with its schema, as a contract names it.
        default_schema: of patterns without one; None: the connection decides, so that any is.
    """
    schema, name = _split(pattern, default_schema)
    there_schema, there = _split(table, default_schema)
    is_of_schema = schema is None or there_schema is None or fnmatchcase(there_schema, schema)
    return is_of_schema and (fnmatchcase(there, name) if is_pattern(pattern) else there == name)


def object_of(table: str) -> str:
    """What a table is called in the lake unless the job says otherwise: its own name, with `_` for what lakes do not take."""
    return UNSAFE.sub("_", parts(table)[-1]) or "_"


def _split(name: str, default_schema: str | None) -> tuple[str | None, str]:
    found = parts(name)
    return found[-2] if len(found) > 1 else default_schema, found[-1]
