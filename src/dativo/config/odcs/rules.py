"""ODCS constraints and quality checks -> data rules; what cannot be checked is a finding, never skipped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.odcs.values import (
    comparable,
    fits,
    plan_argument,
)
from target_iceberg.load_plan import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.yamlio import Document
    from target_iceberg.load_plan import Column, Severity

_INEXECUTABLE = {
    "minProperties": "the number of an object's members",
    "maxProperties": "the number of an object's members",
    "required": "members required by logicalTypeOptions; write required: true at the member",
}
_BOUNDS = {
    "minimum": "minimum", "maximum": "maximum",
    "exclusiveMinimum": "exclusive_minimum", "exclusiveMaximum": "exclusive_maximum",
}  # fmt: skip
"""Option -> kind of rule."""
FORMATS = frozenset({"email", "uri", "url", "uuid", "hostname", "ipv4", "ipv6", "date", "date-time", "time"})


_NOT_RE2 = re.compile(r"\(\?(?:=|!|<=|<!|>|\(|P=)|(?<!\\)(?:\\\\)*\\[1-9]|\\Z|[*+?]\+|\{\d+(?:,\d*)?\}\+")
"""What Python's regular expressions have and RE2 has not."""


class RuleReader:
    """Reads the rules of one schema object."""

    def __init__(self, stream: str, columns: Sequence[Column], document: Document, findings: list[Finding]) -> None:
        self.stream = stream
        self.columns = {c.name: c for c in columns}
        self.document = document
        self.findings = findings
        self.rules: dict[str, Rule] = {}

    # -- collecting ---------------------------------------------------------------------------------------------------

    def add(
        self, kind: Any, columns: Sequence[str], argument: Any = None, *,
        severity: Severity = "error", description: str | None = None, name: str | None = None,
    ) -> None:  # fmt: skip
        """Add one rule under a name of its own: orders.status.enum, or orders.status.<name of the check>."""
        base = ".".join(p for p in (self.stream, "_".join(columns), name or kind) if p)
        unique, n = base, 1
        while unique in self.rules:
            if self.rules[unique].kind == kind and self.rules[unique].argument == argument:
                return
            n += 1
            unique = f"{base}_{n}"
        self.rules[unique] = Rule(
            name=unique,
            kind=kind,
            columns=tuple(columns),
            argument=argument,
            severity=severity,
            description=description,
        )

    def say(self, code: str, parts: tuple[PathPart, ...], problem: str, remedy: str) -> None:
        """Report a finding about a rule."""
        self.findings.append(self.document.finding(code, parts, problem, remedy))

    def cannot(
        self, parts: tuple[PathPart, ...], what: str, remedy: str = "remove it, or state it with rules that are"
    ) -> None:
        """Report a rule that this version does not execute."""
        self.say("DTV045", parts, f"this version cannot check {what}; a rule is never skipped silently", remedy)

    # -- columns ------------------------------------------------------------------------------------------------------

    def read_property(self, prop: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """All rules of one top-level column and of its members."""
        column = self.columns[prop["name"]]
        if prop.get("unique"):
            self.add("unique", (column.name,))
        self.read_values(column, prop, place)
        self.read_members(column, prop, place)

    def read_values(self, column: Column, prop: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """The rules that judge each value by itself."""
        if prop.get("enum"):
            self.enum(column, [e["value"] for e in prop["enum"]], (*place, "enum"))
        for key, value in (prop.get("logicalTypeOptions") or {}).items():
            self.option(column, key, value, self.option_place(place, key))

    def read_members(self, column: Column, prop: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """Rules on members of objects, `address.city`, and on elements of arrays, `tags[]` and `items[].sku`."""
        for member, here in _members(prop, place):
            found = _member(column, str(member.get("name", "element")))
            if found is None:
                self.refuse_rules(member, here, prop)
                continue
            for key in ("unique", "quality"):
                if member.get(key):
                    self.cannot((*here, key), f"'{key}' on a member of '{column.name}'",
                                "remove it, or state it with a type: sql check of the object")  # fmt: skip
            self.read_values(found, member, here)
            self.read_members(found, member, here)

    def refuse_rules(self, member: Mapping[str, Any], here: tuple[PathPart, ...], prop: Mapping[str, Any]) -> None:
        """Rules on what no rule can name: keys and values of maps, members with a dot or brackets in their name."""
        options = set(member.get("logicalTypeOptions") or {}) - {"timezone", "defaultTimezone"}
        ruled = [k for k in ("unique", "enum", "quality") if member.get(k)] + sorted(options)
        if ruled:
            self.cannot((*here, ruled[0]), f"'{ruled[0]}' on a member of '{prop.get('name', 'element')}'")
        for below, there in _members(member, here):
            self.refuse_rules(below, there, member)

    def option_place(self, place: tuple[PathPart, ...], key: str) -> tuple[PathPart, ...]:
        """Flat and nested files write options beside the type, in one of two spellings."""
        snake = {"minLength": "min_length", "maxLength": "max_length", "minimum": "min", "maximum": "max"}.get(key, key)
        for candidate in ((*place, "logicalTypeOptions", key), (*place, key), (*place, snake)):
            if self.document.position(candidate) != self.document.position(candidate[:-1]):
                return candidate
        return place

    def option(self, column: Column, key: str, value: Any, place: tuple[PathPart, ...]) -> None:
        """One of logicalTypeOptions."""
        readers: dict[str, Callable[[Column, Any, tuple[PathPart, ...]], None]] = {
            "pattern": self.pattern, "format": self.format,
            "minLength": self.length, "maxLength": self.length, "minItems": self.length, "maxItems": self.length,
            "multipleOf": self.multiple, "uniqueItems": self.unique_items,
            "minimum": self.bound, "maximum": self.bound, "exclusiveMinimum": self.bound, "exclusiveMaximum": self.bound,
        }  # fmt: skip
        if key in _INEXECUTABLE and value not in (False, 0):
            self.cannot(place, _INEXECUTABLE[key])
        elif key in {
            "minLength",
            "maxLength",
            "minItems",
            "maxItems",
            "minimum",
            "maximum",
            "exclusiveMinimum",
            "exclusiveMaximum",
        }:
            readers[key](column, (key, value), place)
        elif key in readers:
            readers[key](column, value, place)
        # timezone, defaultTimezone, dimensions and the like describe the type and are no rules

    def enum(self, column: Column, values: Sequence[Any], place: tuple[PathPart, ...], **more: Any) -> None:
        """Allowed values, each of the column's kind."""
        wrong = [v for v in values if v is not None and not fits(v, column.type)]
        if wrong:
            self.say("DTV046", place, f"{wrong[0]!r} can never be a value of '{column.name}', a {column.type}",
                     "write values of the column's type (quote text, do not quote numbers)")  # fmt: skip
            return
        self.add("enum", (column.name,), [str(v) if column.type.startswith("decimal") else v for v in values if v is not None],
                 **more)  # fmt: skip

    def pattern(self, column: Column, value: Any, place: tuple[PathPart, ...], **more: Any) -> None:
        """A regular expression that is searched in text."""
        try:
            re.compile(re.sub(r"\\[pP](?:\{\^?\w+\}|\w)", ".", value))  # Python's re has no Unicode classes, RE2 has
        except re.error as e:
            self.say("DTV046", place, f"{value!r} is not a regular expression: {e}", "mend the pattern")
            return
        lookaround = _NOT_RE2.search(value)
        if lookaround:
            self.cannot(place, f"{lookaround[0]} in a pattern (RE2 has no look-around, back-references or possessive quantifiers)",
                        "write the pattern without it")  # fmt: skip
        elif column.type != "string":
            self.say("DTV046", place, f"a pattern needs text, and '{column.name}' is {column.type}", "remove it")
        else:
            self.add("pattern", (column.name,), value, **more)

    def format(self, column: Column, value: Any, place: tuple[PathPart, ...]) -> None:
        """A named format of text; for other types the format describes the type."""
        if column.type != "string" or value in {"password", "byte", "binary"}:
            return
        if value not in FORMATS:
            problem = f"this version cannot check the format '{value}'{did_you_mean(str(value), FORMATS)}"
            self.say("DTV045", place, problem, f"use one of {listed(FORMATS)}, or a pattern")
            return
        self.add("format", (column.name,), value)

    def length(self, column: Column, option: tuple[str, int], place: tuple[PathPart, ...]) -> None:
        """minLength, maxLength of text; minItems, maxItems of an array."""
        key, value = option
        kind = "min_length" if key.startswith("min") else "max_length"
        wanted = "list" if key.endswith("Items") else "string"
        if column.type != wanted:
            needs = "an array with declared items" if wanted == "list" else "text"
            self.say("DTV046", place, f"{key} needs {needs}, and '{column.name}' is {column.type}", "remove it")
            return
        self.add(kind, (column.name,), value)
        low, high = self.argument(column, "min_length"), self.argument(column, "max_length")
        if low is not None and high is not None and low > high:
            self.say("DTV046", place, f"no text is at least {low} and at most {high} long", "swap the two")

    def multiple(self, column: Column, value: Any, place: tuple[PathPart, ...]) -> None:
        """multipleOf."""
        is_number = column.type in {"int", "long", "float", "double"} or column.type.startswith("decimal")
        if not is_number or isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            problem = f"multipleOf needs a number greater than 0 and a column of numbers, and '{column.name}' is {column.type}"
            self.say("DTV046", place, problem, "remove it")
            return
        self.add("multiple_of", (column.name,), value)

    def unique_items(self, column: Column, value: Any, place: tuple[PathPart, ...]) -> None:
        """uniqueItems."""
        if value and column.type != "list":
            problem = f"uniqueItems needs an array with declared items, and '{column.name}' is {column.type}"
            self.say("DTV046", place, problem, "remove it")
        elif value:
            self.add("unique_items", (column.name,))

    def bound(self, column: Column, option: tuple[str, Any], place: tuple[PathPart, ...]) -> None:
        """minimum, maximum and their exclusive forms."""
        key, value = option
        try:
            bound = comparable(value, column.type)
            if column.type in {"string", "boolean"}:
                raise TypeError(value)
        except (ValueError, ArithmeticError, TypeError):
            self.say("DTV046", place, f"{value!r} cannot be compared with '{column.name}', a {column.type}",
                     "write a value of the column's type")  # fmt: skip
            return
        self.add(_BOUNDS[key], (column.name,), plan_argument(bound, value))
        said = {k: self.argument(column, kind) for k, kind in _BOUNDS.items()}
        bounds = {k: comparable(v, column.type) for k, v in said.items() if v is not None}
        lows, highs = ([v for k, v in bounds.items() if k.endswith(end)] for end in ("inimum", "aximum"))
        if not lows or not highs:
            return
        low, high = max(lows), min(highs)
        is_open = bounds.get("exclusiveMinimum") == low or bounds.get("exclusiveMaximum") == high
        if low > high or (low == high and is_open):
            self.say("DTV046", place, f"no value is {'above' if is_open else 'at least'} {low} and "
                     f"{'below' if is_open else 'at most'} {high}", "swap the two")  # fmt: skip

    def argument(self, column: Column, kind: str) -> Any:
        """Argument of a rule that is already there."""
        rule = self.rules.get(f"{self.stream}.{column.name}.{kind}")
        return rule.argument if rule else None


def _member(column: Column, name: str) -> Column | None:
    """A member of an object or the element of an array, under the name by which a rule reaches it."""
    if column.type == "list":
        return msgspec.structs.replace(column.fields[0], name=f"{column.name}[]")
    if column.type != "struct" or "." in name or "[]" in name:
        return None
    found = next((c for c in column.fields if c.name == name), None)
    return None if found is None else msgspec.structs.replace(found, name=f"{column.name}.{name}")


def _members(
    prop: Mapping[str, Any], place: tuple[PathPart, ...]
) -> Iterator[tuple[Mapping[str, Any], tuple[PathPart, ...]]]:
    for i, member in enumerate(prop.get("properties") or ()):
        yield member, (*place, "properties", i)
    if prop.get("items"):
        yield prop["items"], (*place, "items")
    for name, member in (prop.get("map") or {}).items():
        yield member, (*place, "map", name)
