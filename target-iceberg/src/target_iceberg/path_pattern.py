"""Where records become objects of a folder: a pattern like `{date}/{doc_id}.md`, and the rules that keep values out of other folders."""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING

from target_iceberg.load_plan import Rule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_iceberg.load_plan import Column

DOC_ID = "doc_id"
RUN_FIELDS = ("date", "timestamp", "run_id", "part")
"""Day and second of the publish (UTC), the run, and the number of the object in it."""
DEFAULTS = {
    "csv": "ingest_date={date}/{run_id}-{part}.csv",
    "jsonl": "ingest_date={date}/{run_id}-{part}.jsonl",
    "markdown_kv": "{doc_id}.md",
}
SAFE_VALUE = r"^[^./\\\x00-\x1f\x7f][^/\\\x00-\x1f\x7f]{0,199}$"
"""Of a text that becomes part of a path: no slash, no control character, no dot in front, at most 200 characters."""


def columns_of(pattern: str, columns: Sequence[Column], key: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Field of a pattern that is not of the run -> columns whose values take its place.

    `doc_id` is the column of that name, or the key where there is none.
    """
    names = {c.name for c in columns}
    found: dict[str, tuple[str, ...]] = {}
    for name in _fields(pattern):
        if name not in RUN_FIELDS or name in names:
            found[name] = tuple(key) if name == DOC_ID and name not in names else (name,)
    return found


def is_per_record(pattern: str, columns: Sequence[Column], key: Sequence[str]) -> bool:
    """Whether every record gets an object of its own."""
    return bool(columns_of(pattern, columns, key))


def problems(pattern: str, columns: Sequence[Column], key: Sequence[str]) -> list[str]:
    """What is wrong with a pattern."""
    try:
        fields = _fields(pattern)
    except ValueError as e:
        return [f"{e}; write {{name}} for a value and no other braces"]
    found = []
    literal = re.sub(r"\{[^}]*\}", "x", pattern)
    if (
        pattern.startswith(("/", "_"))
        or not pattern
        or pattern.endswith("/")
        or "//" in pattern
        or re.search(r"[\\\x00-\x1f\x7f]|(^|/)\.", literal)
    ):
        found.append(
            "it has to be a path below the table's folder, without `..`, names that begin with a dot, backslashes or `_` in front"
        )
    simple = {c.name for c in columns if not c.fields}
    for name in fields:
        if name == DOC_ID and name not in simple and not key:
            found.append("{doc_id} needs a column doc_id, or a key")
        elif name not in simple and name not in RUN_FIELDS and name != DOC_ID:
            found.append(
                f"{{{name}}} is no column with a simple type, and none of {', '.join(RUN_FIELDS)} and {DOC_ID}"
            )
    return found


def rules(stream: str, pattern: str, columns: Sequence[Column], key: Sequence[str]) -> tuple[Rule, ...]:
    """Rules that reject a record of which a value would lead out of its folder, or that has none."""
    by_name: Mapping[str, Column] = {c.name: c for c in columns}
    named = dict.fromkeys(c for group in columns_of(pattern, columns, key).values() for c in group)
    found = []
    for name in named:
        found.append(Rule(name=f"{stream}.{name}.path_value", kind="not_null", columns=(name,)))
        if by_name[name].type == "string":
            said = "its value becomes part of a path"
            found.append(
                Rule(
                    name=f"{stream}.{name}.path", kind="pattern", columns=(name,), argument=SAFE_VALUE, description=said
                )
            )
    return tuple(found)


def _fields(pattern: str) -> list[str]:
    """Names in braces, in order.

    Raises:
        ValueError: a brace is left open, or empty.
    """
    found = []
    for _, name, form, conversion in string.Formatter().parse(pattern):
        if name is None:
            continue
        if not name or form or conversion or not re.fullmatch(r"\w+", name):
            raise ValueError(f"{{{name}}} is no name")
        found.append(name)
    return found
