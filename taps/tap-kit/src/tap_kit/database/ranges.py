"""A load in parts: ranges of a table's key, behind each of which a bookmark may stand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tap_kit.database.source import Database, Described, Session, SourceColumn

_LEAST_DENSITY = 0.25
"""Share of the numbers between the least and the greatest key that must be taken for even steps to be even parts."""


@dataclass(frozen=True)
class Part:
    """Some rows of a table."""

    where: str
    """Condition; empty for all."""
    after: tuple[str, ...] | None = None
    """Last key of it, as texts; None: a run cannot go on behind it."""
    bounds: tuple[int, int] | None = None
    """Of a single whole number as key: (beyond, up to)."""


def parts_of(
    database: Database, session: Session, described: Described, chunk_rows: int, begun: Sequence[str] | None
) -> Iterator[Part]:
    """The parts of a load in the order of the key, from the one behind `begun` on.

    A whole number as key is cut into even steps where the numbers are dense; other keys are cut where the server finds every
    `chunk_rows`th row.
    """
    keys = ordered_key(described)
    if not keys or (begun is None and described.rows <= chunk_rows):
        yield Part("")
        return
    if len(keys) == 1 and keys[0].is_integer:
        name = database.quote(keys[0].name)
        low, high = session.rows(f"SELECT min({name}), max({name}) FROM {described.relation}")[0]  # noqa: S608
        if low is None:
            return
        if described.rows >= _LEAST_DENSITY * (int(high) - int(low) + 1):
            yield from _steps(name, int(low), int(high), described.rows, chunk_rows, begun)
            return
    yield from _found(database, session, described, keys, chunk_rows, begun)


def key_columns(described: Described) -> list[SourceColumn]:
    """The columns of a key that the server keeps unique; none otherwise."""
    if not described.is_unique:
        return []
    return [c for c in (described.column(name) for name in described.key) if c is not None]


def ordered_key(described: Described) -> list[SourceColumn]:
    """The columns of a key behind one of whose values reading can go on; none where a column has no order of that kind."""
    keys = key_columns(described)
    return keys if all(c.has_order for c in keys) else []


def split(name: str, bounds: tuple[int, int], n: int) -> list[str]:
    """Conditions that share a range of whole numbers among readers."""
    low, high = bounds
    edges = [low + (high - low) * i // n for i in range(n + 1)]
    return [f"{name} > {a} AND {name} <= {b}" for a, b in pairwise(edges) if a < b]


def beyond(database: Database, keys: Sequence[SourceColumn], texts: Sequence[str], sign: str = ">") -> str:
    """Condition for keys that are greater (or as `sign` says) than the one given by its texts."""
    names = [database.quote(c.name) for c in keys]
    values = [database.literal(c, t) for c, t in zip(keys, texts, strict=True)]
    if len(keys) == 1:
        return f"{names[0]} {sign} {values[0]}"
    return f"({', '.join(names)}) {sign} ({', '.join(values)})"


def _steps(name: str, low: int, high: int, rows: int, chunk_rows: int, begun: Sequence[str] | None) -> Iterator[Part]:
    step = max(1, (high - low) // max(1, round(rows / chunk_rows)) + 1)
    last = low - 1 if begun is None else max(low - 1, int(begun[0]))
    while last < high:
        end = min(high, last + step)
        yield Part(f"{name} > {last} AND {name} <= {end}", (str(end),), (last, end))
        last = end


def _found(
    database: Database,
    session: Session,
    described: Described,
    keys: Sequence[SourceColumn],
    chunk_rows: int,
    begun: Sequence[str] | None,
) -> Iterator[Part]:
    last = tuple(begun) if begun is not None else None
    # Names of their own, since ORDER BY would otherwise mean the texts.
    texts = ", ".join(f"{database.text_of(c)} AS k{i}" for i, c in enumerate(keys))
    order = ", ".join(database.quote(c.name) for c in keys)
    while True:
        lower = beyond(database, keys, last) if last is not None else ""
        where = f" WHERE {lower}" if lower else ""
        query = f"SELECT {texts} FROM {described.relation}{where} ORDER BY {order} LIMIT 1 OFFSET {chunk_rows - 1}"  # noqa: S608
        found = session.rows(query)
        if not found:
            yield Part(lower)
            return
        end = tuple(str(v) for v in found[0])
        upper = beyond(database, keys, end, "<=")
        yield Part(f"{lower} AND {upper}" if lower else upper, end)
        last = end
