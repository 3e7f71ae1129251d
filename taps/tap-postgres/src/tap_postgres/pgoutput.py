"""Messages of the output plugin pgoutput, protocol version 1, as PostgreSQL's documentation describes them (55.9)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Unchanged:
    """A value that was not logged, since an update left it as it was (TOAST)."""


UNCHANGED = Unchanged()
Value = str | None | Unchanged
Row = dict[str, Value]


@dataclass(frozen=True)
class Relation:
    """A table as it was when a change was made."""

    schema: str
    name: str
    columns: tuple[str, ...]
    keys: frozenset[str]
    """Columns of the replica identity."""


class Change(NamedTuple):
    """What happened to one row, or to a table."""

    kind: Literal["upsert", "delete", "truncate"]
    relation: Relation
    row: Row
    """The new row; of a delete the old one."""
    old: Row | None
    """Of an update, as far as it was logged: the old row, or its key where that has changed."""
    is_whole: bool
    """What is there of the old row has all columns, and not only those of the key. Of a partition that is only true when the
    partition has the replica identity of its table."""
    lsn: int
    """Where the transaction's commit stands."""
    xid: int


def changes(messages: Iterable[bytes]) -> Iterator[Change]:
    """The changes of whole transactions, in the order in which they were committed."""
    relations: dict[int, Relation] = {}
    lsn = xid = 0
    for message in messages:
        kind, cursor = message[:1], Cursor(message)
        if kind == b"B":
            lsn, _, xid = cursor.take(">QqI")
        elif kind == b"R":
            number, relation = _relation(cursor)
            relations[number] = relation
        elif kind in b"IUD":
            (number,) = cursor.take(">I")
            yield from _of_row(kind, cursor, relations[number], lsn, xid)
        elif kind == b"T":
            n, _ = cursor.take(">IB")
            for number in cursor.take(f">{n}I"):
                yield Change("truncate", relations[number], {}, None, False, lsn, xid)


def _of_row(kind: bytes, cursor: Cursor, relation: Relation, lsn: int, xid: int) -> Iterator[Change]:
    (mark,) = cursor.take("c")
    old = None
    if mark in b"KO":
        old = cursor.row(relation)
        if kind == b"D":
            if mark == b"K":
                old = {name: value for name, value in old.items() if name in relation.keys}
            yield Change("delete", relation, old, None, mark == b"O", lsn, xid)
            return
        if mark == b"K":
            old = {name: value for name, value in old.items() if name in relation.keys}
        cursor.take("c")
    yield Change("upsert", relation, cursor.row(relation), old, mark == b"O", lsn, xid)


class Cursor:
    """Reads a message from its second byte on."""

    def __init__(self, message: bytes) -> None:
        self._message, self._at = message, 1

    def take(self, form: str) -> tuple[Any, ...]:
        """Some values of the `struct` module's."""
        values = struct.unpack_from(form, self._message, self._at)
        self._at += struct.calcsize(form)
        return values

    def text(self) -> str:
        """A text that ends with a zero byte."""
        end = self._message.index(b"\0", self._at)
        found = self._message[self._at : end].decode()
        self._at = end + 1
        return found

    def row(self, relation: Relation) -> Row:
        """A row of a table."""
        (n,) = self.take(">H")
        return dict(zip(relation.columns, [self._value() for _ in range(n)], strict=True))

    def _value(self) -> Value:
        (mark,) = self.take("c")
        if mark == b"n":
            return None
        if mark == b"u":
            return UNCHANGED
        (length,) = self.take(">I")
        found = self._message[self._at : self._at + length].decode()
        self._at += length
        return found


def _relation(cursor: Cursor) -> tuple[int, Relation]:
    (number,) = cursor.take(">I")
    schema, name = cursor.text() or "pg_catalog", cursor.text()
    _, n = cursor.take(">cH")
    columns, keys = [], []
    for _ in range(n):
        (flags,) = cursor.take(">B")
        columns.append(cursor.text())
        if flags & 1:
            keys.append(columns[-1])
        cursor.take(">Ii")
    return number, Relation(schema, name, tuple(columns), frozenset(keys))
