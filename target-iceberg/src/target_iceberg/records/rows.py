"""The row path: one RECORD line at a time, exactly, with a name for everything that is wrong with it.

It has the last word on every line that the vectorised path does not take, and is the definition that path is tested against.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # typeshed leaves it out
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from target_iceberg.records.rejects import (
    MASK,
    MAX_RECORD_CHARACTERS,
    SOURCE_FILE,
    SOURCE_RECORD,
    Budget,
    RejectRow,
    classified_names,
    cut,
    shown,
)
from target_iceberg.records.scalars import compact_json, converter
from target_iceberg.records.values import Members, Number, TooDeep, ValueRefused
from target_iceberg.singer.framing import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from target_iceberg.load_plan import Column

NO_FIELDS: Mapping[str, str] = MappingProxyType({})
_DECODER = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=Number, object_pairs_hook=Members)
_SPACE = re.compile(r"[ \t\n\r]*")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
# Arrow's reader takes these spellings, Python's does not.
_OTHER_FLOATS = re.compile(r'"(?:[^"\\]|\\.)*"|-NaN\b|-?\bInf\b', re.DOTALL)


class MalformedRecord(ValueError):  # noqa: N818 - a verdict about data, not a failure of the program
    """The line is not a JSON object with a record in it."""


@dataclass(frozen=True)
class Member:
    """One field of a record and where its value stands in the line's text."""

    name: str
    value: Any
    start: int
    end: int


@dataclass(frozen=True)
class RawRecord:
    """A record taken apart, not yet judged."""

    text: str
    start: int
    end: int
    members: list[Member]
    envelope: list[Member]
    """Of the message around the record: time_extracted, version, ..."""

    def masked(self, names: frozenset[str]) -> str:
        """JSON text with the values of some fields replaced."""
        parts, at = [], self.start
        for m in self.members:
            if m.name in names:
                parts += [self.text[at : m.start], json.dumps(MASK)]
                at = m.end
        return "".join((*parts, self.text[at : self.end]))


class RowPath:
    """Decodes single lines of one stream."""

    def __init__(
        self, stream: str, columns: Sequence[Column], budget: Budget, envelope_fields: Mapping[str, str] = NO_FIELDS
    ) -> None:
        self._budget = budget
        self._stream = stream
        self._columns = list(columns)
        self._converters = [(c, converter(c)) for c in columns]
        self._classified = classified_names(columns)
        self._from_envelope: dict[str, list[str]] = {}
        for column, name in envelope_fields.items():
            self._from_envelope.setdefault(name, []).append(column)

    def decode(self, line: bytes) -> tuple[Any, ...] | list[RejectRow]:
        """Values in the order of the columns, or one reject for each column that is wrong (the first one counts)."""
        try:
            text = line.removeprefix(MALFORMED).decode()
        except UnicodeDecodeError:
            return [self._malformed(line, "not UTF-8")]
        try:
            record = parse_record(text)
        except MalformedRecord as e:
            return [self._malformed(line, str(e))]
        by_name: dict[str, Member] = {}
        twice: set[str] = set()
        for m in record.members:
            if m.name in by_name:
                twice.add(m.name)
            by_name[m.name] = m
        for m in record.envelope:
            for name in self._from_envelope.get(m.name, ()):
                if name not in by_name or by_name[name].value is None:
                    by_name[name] = m
        known = sorted(twice.intersection(c.name for c in self._columns))
        if known:
            return [self._reject(record, by_name, None, "json", f"key twice: {', '.join(known)}", None)]
        values: list[Any] = []
        rejects: list[RejectRow] = []
        for column, convert in self._converters:
            member = by_name.get(column.name)
            try:
                values.append(
                    None if member is None or member.value is None else self._value(column, convert, record, member)
                )
            except ValueRefused as e:
                assert member is not None  # only a value can be refused
                rejects.append(
                    self._reject(record, by_name, column.name, "type", str(e), record.text[member.start : member.end])
                )
        return rejects or tuple(values)

    @staticmethod
    def _value(column: Column, convert: Any, record: RawRecord, member: Member) -> Any:
        if column.encoding == "json" and not isinstance(member.value, TooDeep):
            return compact_json(record.text[member.start : member.end])
        return convert(member.value)

    def _malformed(self, line: bytes, message: str) -> RejectRow:
        text = (
            MASK
            if self._classified
            else line.removeprefix(MALFORMED).decode("utf-8", "backslashreplace").rstrip("\r\n")
        )
        return RejectRow(
            rule=f"{self._stream}.record.json",
            column=None,
            kind="json",
            message=message,
            value=None,
            record=json.dumps(cut(text, MAX_RECORD_CHARACTERS), ensure_ascii=False),
        )

    def _reject(
        self,
        record: RawRecord,
        by_name: dict[str, Member],
        column: str | None,
        kind: str,
        message: str,
        value: str | None,
    ) -> RejectRow:
        rule = f"{self._stream}.{column or 'record'}.{kind}"
        if not self._budget.left(rule):
            return RejectRow(rule=rule, column=column, kind=kind, message=message, value=None, record="")
        file, position = (by_name[n].value if n in by_name else None for n in (SOURCE_FILE, SOURCE_RECORD))
        return RejectRow(
            rule=rule,
            column=column,
            kind=kind,
            message=message,
            value=shown(value, column in self._classified),
            record=cut(record.masked(self._classified), MAX_RECORD_CHARACTERS),
            source_file=file if isinstance(file, str) else None,
            source_record=int(position.text)
            if isinstance(position, Number) and re.fullmatch(r"\d{1,18}", position.text)
            else None,
        )


def parse_value(text: str) -> Any:
    """A JSON value as converters take it.

    Raises:
        ValueError: it is not JSON.
    """
    return _DECODER.raw_decode(text)[0]


def parse_record(text: str) -> RawRecord:
    """The record of a RECORD line.

    Raises:
        MalformedRecord: the line is not one JSON object, or has no record, or more than one.
    """
    try:
        return _parse_record(text)
    except json.JSONDecodeError as first:
        other = _OTHER_FLOATS.sub(lambda m: m[0] if m[0][0] == '"' else "NaN" if "N" in m[0] else m[0] + "inity", text)
        if other == text:
            raise MalformedRecord(_reason(first)) from first
    try:
        return _parse_record(other)
    except json.JSONDecodeError as e:
        raise MalformedRecord(_reason(e)) from e


def _reason(error: json.JSONDecodeError) -> str:
    return f"not JSON: {error.msg} at character {error.pos + 1}"


def _parse_record(text: str) -> RawRecord:
    start = _skip(text, 0)
    found: list[tuple[int, int, list[Member] | None]] = []
    at = start
    members: list[Member] = []
    end = _members(text, at, members, found)
    if _skip(text, end) != len(text):
        raise json.JSONDecodeError("more than one value in a line", text, end)
    if len(found) != 1:
        raise MalformedRecord("no record in the message" if not found else "two records in one message")
    inside = found[0][2]
    if inside is None:
        raise MalformedRecord("the record is not an object")
    return RawRecord(text, found[0][0], found[0][1], inside, members)


def _skip(text: str, at: int) -> int:
    m = _SPACE.match(text, at)
    assert m  # it matches the empty text too
    return m.end()


def _members(
    text: str, at: int, members: list[Member], records: list[tuple[int, int, list[Member] | None]] | None = None
) -> int:
    """Append the members of the object at `at`, return where it ends; at the top level `record` is taken apart as well."""
    if text[at : at + 1] != "{":
        raise json.JSONDecodeError("expected an object", text, at)
    at = _skip(text, at + 1)
    if text[at : at + 1] == "}":
        return at + 1
    while True:
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("expected a key in quotes", text, at)
        name, at = scanstring(text, at + 1, True)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("expected a colon", text, at)
        start = _skip(text, at + 1)
        if records is not None and name == "record":
            at = _record(text, start, records)
        else:
            value, at = _value(text, start)
            members.append(Member(name, value, start, at))
        at = _skip(text, at)
        if text[at : at + 1] == "}":
            return at + 1
        if text[at : at + 1] != ",":
            raise json.JSONDecodeError("expected a comma or the end of the object", text, at)
        at = _skip(text, at + 1)


def _record(text: str, start: int, records: list[tuple[int, int, list[Member] | None]]) -> int:
    inside: list[Member] | None = None
    if text[start : start + 1] == "{":
        inside = []
        end = _members(text, start, inside)
    else:
        end = _value(text, start)[1]
    records.append((start, end, inside))
    return end


def _value(text: str, start: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, start)
    except RecursionError:
        return TooDeep(), _end_of_nested(text, start)


def _end_of_nested(text: str, start: int) -> int:
    """Where an array or object ends, found by counting brackets instead of by recursion."""
    depth = 0
    for m in _TOKEN.finditer(text, start):
        if m[0][0] != '"':
            depth += 1 if m[0] in "[{" else -1
            if depth == 0:
                return m.end()
    raise json.JSONDecodeError("the value does not end", text, start)
