"""In what the columns of a table are other than the stream's schema, which is the contract's, has them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

from tap_kit.columns import TYPE_KEYWORD, type_of
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tap_kit.columns import Column
    from tap_kit.database.source import Described

_OF_TEXT = ("string", "json", "nested")
_OF_24_BITS = ("real", "float", "smallint", "tinyint", "mediumint")
"""How types begin whose values a float holds."""


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

    Raises:
        TapError: a column of the stream is one that the user may not read, or is of bytes, and the table's is not. Read as base64,
            its values would be others.
    """
    shown, there = described.item.shown, {c.name: c for c in described.columns}
    no_bytes = [
        f"{c.name} is {there[c.name].shown_type}"
        for c in wanted
        if c.is_bytes and c.name in there and there[c.name].json_schema.get(TYPE_KEYWORD) != "binary"
    ]
    if no_bytes:
        raise TapError(
            f"{shown}: {', '.join(no_bytes)} there and binary in the contract, which only bytes can be: change the contract to the type that the "
            "table has, or read a query that makes bytes of it"
        )
    missing = [c.name for c in wanted if c.name not in there and c.name not in own]
    if missing and described.unseen:
        raise TapError(f"{shown}: {', '.join(missing)} cannot be seen: {described.unseen}")
    if missing:
        message = f"{shown}: lacks the columns {', '.join(missing)}; they are NULL"
        yield Difference("columns_missing", logging.WARNING, message, missing)
    converted = {
        c.name: f"{c.name} is {there[c.name].shown_type} there and {'float' if c.is_single else c.type} in the contract"
        for c in wanted
        if c.name in there and _may_change(type_of(there[c.name].json_schema), there[c.name].shown_type, c)
    }
    if converted:
        message = (
            f"{shown}: {'; '.join(converted.values())}: values are converted where they can be (007 becomes 7, a number has the "
            "digits that the type holds), and the others are rejected; to have them as they are, change the contract to the type that the table has"
        )
        yield Difference("columns_converted", logging.WARNING, message, list(converted))
    names = {c.name for c in wanted}
    ignored = [name for name in there if name not in names]
    if ignored:
        message = f"{shown}: has columns that the contract does not name, and that are not read: {', '.join(ignored)}"
        yield Difference("columns_ignored", logging.INFO, message, ignored)


def losses(
    described: Described, wanted: Collection[Column], known: Collection[str], *, brings_all: bool
) -> Iterator[Difference]:
    """What has become of columns that the table had when rows were read before, and that are read again.

    Args:
        described: the table as it is.
        wanted: the stream's columns.
        known: columns that the table had.
        brings_all: the stream has all columns of the table, and not those of the contract alone.

    Raises:
        TapError: a column of the stream is gone, and would take the values of such rows with it.
    """
    shown = described.item.shown
    lost = [c.name for c in wanted if c.name in known and described.column(c.name) is None]
    if lost:
        raise TapError(
            f"{shown}: has lost the columns {', '.join(lost)}, so that rows which are read again would lose their values; give "
            "them back there, or take them out of the contract (where one has another name now, name that), or read all rows anew: dativo run "
            "--config <job> --full-refresh"
        )
    gone = sorted(set(known) - {c.name for c in wanted})
    if gone and brings_all:
        message = f"{shown}: has lost the columns {', '.join(gone)}; in rows that are read again they are NULL"
        yield Difference("columns_missing", logging.WARNING, message, gone)


def _may_change(source: str, shown: str, wanted: Column) -> bool:
    """Whether a value may look different afterwards. Others fit exactly, or are rejected."""
    if source in _OF_TEXT:
        return wanted.type not in _OF_TEXT
    if wanted.is_single:
        return not shown.startswith(_OF_24_BITS)
    return wanted.type == "double" and (source.startswith("decimal") or shown.startswith("bigint"))
