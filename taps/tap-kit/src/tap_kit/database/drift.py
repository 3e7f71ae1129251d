"""In what the columns of a table are other than the stream's schema, which is the contract's, has them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from tap_kit.columns import type_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tap_kit.columns import Column
    from tap_kit.database.source import Described

_OF_TEXT = ("string", "json", "nested")


class Difference(NamedTuple):
    """Something to tell."""

    event_type: str
    level: int
    message: str
    columns: list[str]


def differences(described: Described, wanted: Collection[Column], own: Collection[str] = ()) -> Iterator[Difference]:
    """What a user has to know before rows are read.

    Args:
        described: the table as it is.
        wanted: the stream's columns.
        own: columns that the tap adds.
    """
    shown, there = described.item.shown, {c.name: c for c in described.columns}
    missing = [c.name for c in wanted if c.name not in there and c.name not in own]
    if missing:
        message = f"{shown}: lacks the columns {', '.join(missing)}; they are NULL"
        yield Difference("columns_missing", logging.WARNING, message, missing)
    converted = {
        c.name: f"{c.name} is {there[c.name].shown_type} there and {c.type} in the contract"
        for c in wanted
        if c.name in there and _may_change(type_of(there[c.name].json_schema), there[c.name].shown_type, c.type)
    }
    if converted:
        message = (
            f"{shown}: {'; '.join(converted.values())}: values are converted where they can be, so that 007 becomes 7, and the others are "
            "rejected; to have them as they are, change the contract to the type that the table has"
        )
        yield Difference("columns_converted", logging.WARNING, message, list(converted))
    names = {c.name for c in wanted}
    ignored = [name for name in there if name not in names]
    if ignored:
        message = f"{shown}: has columns that the contract does not name, and that are not read: {', '.join(ignored)}"
        yield Difference("columns_ignored", logging.INFO, message, ignored)


def _may_change(source: str, shown: str, wanted: str) -> bool:
    """Whether a value may look different afterwards. Others fit exactly, or are rejected."""
    if source in _OF_TEXT:
        return wanted not in _OF_TEXT
    return wanted == "double" and (source.startswith("decimal") or shown.startswith("bigint"))
