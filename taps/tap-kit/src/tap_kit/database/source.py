"""What a database has to say and do so that its tables become streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from tap_kit.database.settings import Item


class SourceColumn(Protocol):
    """A column as the server describes it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def shown_type(self) -> str:
        """Its type as people know it."""

    @property
    def required(self) -> bool:
        """It is never NULL."""

    @property
    def json_schema(self) -> dict[str, Any]:
        """What the Singer catalog says of it."""

    @property
    def is_integer(self) -> bool:
        """Its values are whole numbers of at most 64 bits."""

    @property
    def is_time(self) -> bool:
        """Its values are dates or points in time."""

    @property
    def has_order(self) -> bool:
        """Rows that are sorted by it are sorted as their values compare with literals."""


@dataclass(frozen=True)
class Described:
    """A table, view, partitioned or foreign table, or a query."""

    item: Item
    columns: tuple[SourceColumn, ...]
    key: tuple[str, ...]
    relation: str
    """What stands behind FROM."""
    rows: int = 0
    """As the planner estimates them; 0 where nobody has counted."""
    is_table: bool = True
    """It has rows and indexes of its own."""
    is_unique: bool = False
    """The server keeps the key unique among the rows that are read, and without NULLs."""
    comment: str | None = None
    unseen: str | None = None
    """Why the table may have further columns."""

    def column(self, name: str) -> SourceColumn | None:
        """The column of a name."""
        return next((c for c in self.columns if c.name == name), None)


@dataclass(frozen=True)
class Selected:
    """A column of a query, and how to read what comes back."""

    name: str
    word: str
    """Type that the stream's schema wants."""
    expression: str
    """What is selected."""
    is_text: bool
    """The value is a text of which a typed one has to be made."""
    sift: Callable[[pa.Array], Sifted] | None = None
    """Takes out the values that the type has no room for."""


class Sifted(NamedTuple):
    """A column without the values that its type has no room for."""

    values: pa.Array
    texts: dict[int, str]
    """Position -> text of what was taken out."""


class Session(Protocol):
    """A connection. What it reads is one moment of the database where the server can do that."""

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query.

        Raises:
            TransientError: it may answer when asked again.
            TapError: it refuses.
        """

    def batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Rows of a large query as they come; errors as in `rows`."""


class Database(Protocol):
    """A server, and how its SQL spells things."""

    where: str
    """Server and database as messages name them, without secrets."""
    reads_in_order: bool
    """Rows of a table come in the order of its key at no further cost, and sessions cannot share a moment: a load is one
    statement ordered by the key. Otherwise it is a statement for each range of the key."""

    def session(self) -> AbstractContextManager[Session]:
        """A session; of sessions that follow each other all may see the same moment."""

    def close(self) -> None:
        """Let go of what sessions share."""

    def siblings(self, session: Session, n: int) -> AbstractContextManager[Sequence[Session]]:
        """Further sessions that see the same moment."""

    def describe(self, session: Session, item: Item) -> Described:
        """Look a table or query up.

        Raises:
            TapError: there is none of the name, or the query cannot be run.
        """

    def tables(self, session: Session, schema: str) -> list[str]:
        """Names of the tables, views and the like of a schema that a pattern may mean."""

    def has_index(self, session: Session, described: Described, column: SourceColumn) -> bool:
        """Whether an index begins with a column."""

    def quote(self, name: str) -> str:
        """A name as SQL writes it, whatever is in it."""

    def literal(self, column: SourceColumn, text: str) -> str:
        """A value of a column, given as `text_of` has it, as SQL writes it."""

    def text_of(self, column: SourceColumn) -> str:
        """Expression of a value's text, from which `literal` makes the same value."""

    def usable(self, column: SourceColumn) -> str:
        """Condition for a value that can be a cursor: no NULL, no infinity."""

    def unusable(self, column: SourceColumn) -> str | None:
        """The opposite, in a form that an index helps with; None where every value can be one."""

    def impossible(self, column: SourceColumn) -> str | None:
        """Condition for values that lie between usable ones and are none, like the 31st of February; no index helps with it. None: there
        are none."""

    def earlier(self, literal: str, column: SourceColumn, seconds: float) -> str:
        """A literal, so many seconds before."""

    def digest(self, columns: Sequence[SourceColumn]) -> str:
        """Aggregate over rows: the sum of hashes of the columns' values, as the text of a whole number."""

    def part(self, column: SourceColumn, step: int) -> str:
        """Whole number by a step, as a whole number towards zero."""

    def index_advice(self, described: Described, column: SourceColumn) -> str:
        """The statement that makes an index on a column."""

    def select(self, column: SourceColumn, word: str) -> Selected:
        """How a column is read so that it arrives as a type."""
