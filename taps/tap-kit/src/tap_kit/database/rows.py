"""From what a server sends to tables of the stream's types, and the rows of which a value has no such type."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from tap_kit.cast import arrow_type, cast_texts
from tap_kit.lanes import Misfit

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from tap_kit.database.source import Selected, Session


class Rows(NamedTuple):
    """Some rows of a query."""

    table: pa.Table
    misfits: list[Misfit]
    keys: list[pa.Array]
    """What tells the rows apart, a column for each part of the key."""


class Reader:
    """Reads some columns of a table.

    Args:
        columns: what to select.
        absent: columns of the stream that the table does not have, with their types; they are NULL.
        keys: expressions of the values that tell rows apart.
        nulled: columns of which values without room in their type are NULL, and no misfits.
    """

    def __init__(
        self,
        columns: Sequence[Selected],
        absent: Mapping[str, str],
        keys: Sequence[str] = (),
        nulled: Container[str] = (),
    ) -> None:
        self._columns, self._absent, self._nulled = columns, absent, nulled
        expressions = [c.expression for c in columns]
        self._keys = []
        for key in keys:
            if key not in expressions:
                expressions.append(key)
            self._keys.append(expressions.index(key))
        self.select = ", ".join(f"{e} AS c{i}" for i, e in enumerate(expressions or ["1"]))

    def read(self, session: Session, source: str) -> Iterator[Rows]:
        """Rows as they come.

        Args:
            session: connected.
            source: FROM and what follows it.

        Raises:
            TransientError: the server goes away.
            TapError: the server refuses.
        """
        for batch in session.batches(f"SELECT {self.select} {source}"):
            if batch.num_rows:
                rows, misfits = self.typed(batch)
                yield Rows(rows, misfits, [batch.column(at) for at in self._keys])

    def typed(self, batch: pa.RecordBatch) -> tuple[pa.Table, list[Misfit]]:
        """One batch of the query's columns."""
        odd: dict[int, dict[str, str]] = {}
        names, columns = [], []
        for at, column in enumerate(self._columns):
            value = batch.column(at)
            is_told = column.name not in self._nulled
            if column.is_text:
                texts = value if pa.types.is_string(value.type) else pc.cast(value, pa.string())
                typed = cast_texts(texts, column.word, blank_is_null=False)
                columns.append(typed.values)
                for row in typed.misfits if is_told else ():
                    odd.setdefault(row, {})[column.name] = texts[row].as_py()
            else:
                if column.sift is not None:
                    value, texts_of_odd = column.sift(value)
                    for row, text in texts_of_odd.items() if is_told else ():
                        odd.setdefault(row, {})[column.name] = text
                columns.append(_as(value, column.word))
            names.append(column.name)
        for name, word in self._absent.items():
            names.append(name)
            columns.append(pa.nulls(batch.num_rows, arrow_type(word)))
        return pa.table(columns, names), [Misfit(row, texts) for row, texts in sorted(odd.items())]


def _as(values: pa.Array, word: str) -> pa.Array:
    if pa.types.is_large_binary(values.type):
        values = pc.cast(values, pa.binary())
    if pa.types.is_binary(values.type) and word in ("binary", "string"):
        return values
    if word == "json":  # as the server has it, which is JSON
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(values), "null"), None, values)
    wanted = arrow_type(word)
    return values if values.type == wanted else pc.cast(values, wanted)
