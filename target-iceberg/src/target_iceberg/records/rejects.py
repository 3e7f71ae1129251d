"""Records that broke a rule: why, where they came from, and what they were, without the values nobody may see."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable

    from target_iceberg.load_plan import Column, StreamPlan
    from target_iceberg.singer.messages import TapReject

MASK = "***"
SOURCE_FILE, SOURCE_RECORD = "_sdc_source_file", "_sdc_source_lineno"
MAX_VALUE_CHARACTERS = 1_024
MAX_RECORD_CHARACTERS = 1 << 20
MAX_LISTED = 1_000
MAX_LISTED_BYTES = 32 << 20
"""Characters of the records in all listed rejects of a run."""

REJECTS_SCHEMA = pa.schema(
    [
        ("run_id", pa.string()),
        ("stream", pa.string()),
        ("n", pa.int64()),
        ("source_file", pa.string()),
        ("source_record", pa.int64()),
        ("rule", pa.string()),
        ("column", pa.string()),
        ("value", pa.string()),
        ("message", pa.string()),
        ("record", pa.string()),
        ("contract_name", pa.string()),
        ("contract_version", pa.string()),
        ("rejected_at", pa.timestamp("us", tz="UTC")),
    ]
)
"""Columns of `<table>__rejects`; all nullable."""


@dataclass(frozen=True)
class RejectRow:
    """One rejected record, under the first rule that it broke."""

    rule: str
    column: str | None
    kind: str
    message: str
    """Never holds a value of a classified column."""
    value: str | None
    """Text of the value that broke the rule, cut at 1,024 characters; `***` for a classified column."""
    record: str
    """JSON text of the record, values of classified columns replaced by `***`."""
    source_file: str | None = None
    source_record: int | None = None
    n: int | None = None


class Budget:
    """How many rejects of each rule are still to be listed in a run; what is beyond it is counted only.

    Two parse workers may share it without a lock: at worst a few more than the maximum are listed.
    """

    def __init__(self, max_listed: int = MAX_LISTED) -> None:
        self.max_listed = max_listed
        self._listed: Counter[str] = Counter()

    def left(self, rule: str) -> int:
        """Rejects of this rule that may still be listed."""
        return max(0, self.max_listed - self._listed[rule])

    def take(self, rule: str, rows: int = 1) -> None:
        """Note that rejects were listed."""
        self._listed[rule] += rows


class Room:
    """What the listed rejects of a run may hold in memory together."""

    def __init__(self, size_bytes: int = MAX_LISTED_BYTES) -> None:
        self.left = size_bytes


class Listing:
    """The rejects of one stream that are kept to be shown: so many of each rule, and the first of each in any case.

    Args:
        max_listed: of each rule.
        room: of all streams of a run.
    """

    def __init__(self, max_listed: int, room: Room) -> None:
        self.rows: list[RejectRow] = []
        self.room = room
        self._max_listed = max_listed
        self._by_rule: Counter[str] = Counter()
        self._has_no_room = False

    def add(self, row: RejectRow) -> None:
        """Keep a reject, if there is room for it."""
        known = self._by_rule[row.rule]
        size = len(row.record)
        if known >= self._max_listed:
            return
        if known and size > self.room.left:
            self._has_no_room = True
            return
        self._by_rule[row.rule] += 1
        self.room.left -= size
        self.rows.append(row)

    @property
    def is_full(self) -> bool:
        """As many rejects of some rule are listed as may be."""
        return self._has_no_room or (bool(self._by_rule) and max(self._by_rule.values()) >= self._max_listed)


def is_classified(column: Column) -> bool:
    """Whether the values of a column, or of a member of it, must not be shown."""
    return column.classification is not None or any(is_classified(c) for c in column.fields)


def classified_names(columns: Iterable[Column]) -> frozenset[str]:
    """Top-level columns whose values must not be shown."""
    return frozenset(c.name for c in columns if is_classified(c))


def shown(text: str | None, masked: bool) -> str | None:
    """A value as a reject may show it."""
    if text is None:
        return None
    return MASK if masked else cut(text, MAX_VALUE_CHARACTERS)


def cut(text: str, characters: int) -> str:
    """The text, or its beginning and an ellipsis; half surrogate pairs replaced, so that it can be stored."""
    short = text if len(text) <= characters else text[: characters - 1] + "…"
    return short.encode("utf-8", "replace").decode()


def from_tap(plan: StreamPlan, message: TapReject) -> RejectRow:
    """The reject that a tap reported itself; its record has no columns yet, so it is masked as a whole if any column is classified."""
    masked = bool(classified_names(plan.columns))
    record = message.record
    if masked:
        record = dict.fromkeys(record, MASK) if isinstance(record, dict) else MASK
    return RejectRow(
        rule=f"{plan.stream}.{message.rule}",
        column=message.column,
        kind=message.rule,
        message=message.message,
        value=None,
        record=cut(msgspec.json.encode(record).decode(), MAX_RECORD_CHARACTERS),
        source_file=message.source.file,
        source_record=message.source.record,
    )


def rejects_table(
    rows: Iterable[RejectRow], *, run_id: str, plan: StreamPlan, rejected_at: dt.datetime, n: int | None = None
) -> pa.Table:
    """Rows of `<table>__rejects` in the order of `rows`.

    Args:
        n: number of the publish that settles them, for rows that carry none.
    """
    contract = plan.contract
    fixed: dict[str, Any] = {
        "run_id": run_id,
        "stream": plan.stream,
        "rejected_at": rejected_at,
        "contract_name": contract.name if contract else None,
        "contract_version": contract.version if contract else None,
    }
    listed = [
        {
            **fixed,
            "n": r.n if r.n is not None else n,
            "source_file": r.source_file,
            "source_record": r.source_record,
            "rule": r.rule,
            "column": r.column,
            "value": r.value,
            "message": r.message,
            "record": r.record,
        }
        for r in rows
    ]
    return pa.Table.from_pylist(listed, schema=REJECTS_SCHEMA)
