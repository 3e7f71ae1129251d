"""ODCS constraints and quality checks -> data rules; what cannot be checked is a finding, never skipped."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.odcs.values import at_most, comparable, fits, is_zero, next_value, plan_argument, row_limits
from target_iceberg.load_plan import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.yamlio import Document
    from target_iceberg.load_plan import Column, Severity

SEVERITIES: dict[str, Severity] = {
    "error": "error", "critical": "error", "blocker": "error", "high": "error", "major": "error",
    "warning": "warning", "warn": "warning", "minor": "warning", "medium": "warning", "low": "warning", "info": "warning",
}  # fmt: skip
_INEXECUTABLE = {
    "multipleOf": "numbers that are multiples of something",
    "minItems": "the length of an array",
    "maxItems": "the length of an array",
    "uniqueItems": "repeated items of an array",
    "minProperties": "the number of an object's members",
    "maxProperties": "the number of an object's members",
    "required": "members required by logicalTypeOptions; write required: true at the member",
}
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
        """All rules of one top-level column; rules on members of objects and arrays are findings."""
        column = self.columns[prop["name"]]
        if prop.get("unique"):
            self.add("unique", (column.name,))
        if prop.get("enum"):
            self.enum(column, [e["value"] for e in prop["enum"]], (*place, "enum"))
        for key, value in (prop.get("logicalTypeOptions") or {}).items():
            self.option(column, key, value, self.option_place(place, key))
        for i, check in enumerate(prop.get("quality") or ()):
            self.quality(check, (*place, "quality", i), column)
        self.refuse_member_rules(prop, place)

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
            "minLength": self.length, "maxLength": self.length,
            "minimum": self.bound, "maximum": self.bound, "exclusiveMinimum": self.bound, "exclusiveMaximum": self.bound,
        }  # fmt: skip
        if key in _INEXECUTABLE and value not in (False, 0):
            self.cannot(place, _INEXECUTABLE[key])
        elif key in {"minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}:
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
        """minLength, maxLength."""
        key, value = option
        kind = "min_length" if key == "minLength" else "max_length"
        if column.type != "string":
            self.say("DTV046", place, f"{key} needs text, and '{column.name}' is {column.type}", "remove it")
            return
        self.add(kind, (column.name,), value)
        low, high = self.argument(column, "min_length"), self.argument(column, "max_length")
        if low is not None and high is not None and low > high:
            self.say("DTV046", place, f"no text is at least {low} and at most {high} long", "swap the two")

    def bound(self, column: Column, option: tuple[str, Any], place: tuple[PathPart, ...]) -> None:
        """minimum, maximum and their exclusive forms; an exclusive bound becomes the next value of the column's type."""
        key, value = option
        is_low = key.endswith("inimum")
        try:
            bound = comparable(value, column.type)
            if key.startswith("exclusive"):
                bound = next_value(bound, column.type, up=is_low)
        except (ValueError, ArithmeticError, TypeError):
            self.say("DTV046", place, f"{value!r} cannot be compared with '{column.name}', a {column.type}",
                     "write a value of the column's type")  # fmt: skip
            return
        self.add("minimum" if is_low else "maximum", (column.name,), plan_argument(bound, value))
        low, high = self.argument(column, "minimum"), self.argument(column, "maximum")
        if low is not None and high is not None and comparable(low, column.type) > comparable(high, column.type):
            self.say("DTV046", place, f"no value is at least {low} and at most {high}", "swap the two")

    def argument(self, column: Column, kind: str) -> Any:
        """Argument of a rule that is already there."""
        rule = self.rules.get(f"{self.stream}.{column.name}.{kind}")
        return rule.argument if rule else None

    def refuse_member_rules(self, prop: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """Rules are checked on columns, not on members of objects and arrays."""
        for member, here in _members(prop, place):
            options = set(member.get("logicalTypeOptions") or {}) - {"format", "timezone", "defaultTimezone"}
            ruled = [k for k in ("unique", "enum", "quality") if member.get(k)] + sorted(options)
            if ruled:
                self.cannot((*here, ruled[0]), f"'{ruled[0]}' on a member of '{prop.get('name', 'element')}'")
            self.refuse_member_rules(member, here)

    # -- quality ------------------------------------------------------------------------------------------------------

    def quality(self, check: Mapping[str, Any], place: tuple[PathPart, ...], column: Column | None = None) -> None:
        """One ODCS quality check, of a column or (None) of the object."""
        kind = check.get("type", "library")
        if kind == "text":
            return  # a sentence for people
        if kind != "library" and kind in {"sql", "custom"}:
            self.cannot((*place, "type"), f"quality checks of type '{kind}'",
                        "state it with metric: nullValues, duplicateValues, invalidValues or rowCount, or as type: text")  # fmt: skip
            return
        severity = SEVERITIES.get(str(check.get("severity", "error")).lower())
        if severity is None:
            problem = f"unknown severity '{check['severity']}'{did_you_mean(str(check['severity']), SEVERITIES)}"
            self.say("DTV046", (*place, "severity"), problem, "use error or warning")
            return
        metric = check.get("metric") or check.get("rule")
        readers = {
            "nullValues": self.null_values, "missingValues": self.missing_values, "duplicateValues": self.duplicates,
            "invalidValues": self.invalid_values, "rowCount": self.row_count,
        }  # fmt: skip
        if metric not in readers:
            known = f"use one of: {listed(readers)}"
            self.say("DTV045", place, f"unknown quality metric '{metric}'{did_you_mean(str(metric), readers)}", known)
            return
        name = re.sub(r"\W+", "_", str(check["name"])).strip("_").lower() if check.get("name") else None
        more = {"severity": severity, "description": check.get("description"), "name": name or None}
        readers[metric](check, place, column, more)

    def null_values(self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]) -> None:
        """metric nullValues, mustBe 0."""
        if column is None or not is_zero(check):
            self.cannot(place, "nullValues other than mustBe: 0 at a column")
        else:
            self.add("not_null", (column.name,), **more)

    def missing_values(
        self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]
    ) -> None:
        """metric missingValues: nothing but NULL and the empty text can be told from a value."""
        values = (check.get("arguments") or {}).get("missingValues", [None])
        if column is None or not is_zero(check) or any(v not in (None, "") for v in values):
            self.cannot(place, "missingValues other than null and '' with mustBe: 0 at a column")
            return
        self.add("not_null", (column.name,), **more)
        if "" in values and column.type == "string":
            self.add("min_length", (column.name,), 1, **more)

    def duplicates(self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]) -> None:
        """metric duplicateValues: none, or at most so many rows or percent."""
        names = (check.get("arguments") or {}).get("properties") or ([column.name] if column else [])
        unknown = [n for n in names if n not in self.columns]
        if not names or unknown:
            problem = f"duplicateValues names no column of the schema: {listed(unknown)}"
            self.say("DTV046", place, problem, "arguments: {properties: [..]}")
            return
        most = at_most(check)
        unit = check.get("unit", "rows")
        if most is None or unit not in {"rows", "percent"}:
            self.cannot(place, "duplicateValues other than mustBe: 0 or an upper limit in rows or percent")
            return
        self.add("unique", tuple(names), {"max": most, "unit": unit} if most else None, **more)

    def invalid_values(
        self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]
    ) -> None:
        """metric invalidValues with validValues or a pattern, mustBe 0."""
        arguments = check.get("arguments") or {}
        if column is None or not is_zero(check) or not arguments.keys() & {"validValues", "pattern"}:
            self.cannot(place, "invalidValues other than mustBe: 0 with validValues or pattern at a column")
            return
        for key in sorted(arguments.keys() - {"validValues", "pattern"}):
            self.cannot((*place, "arguments", key), f"the argument '{key}' of invalidValues")
        if "validValues" in arguments:
            self.enum(column, arguments["validValues"], (*place, "arguments", "validValues"), **more)
        if "pattern" in arguments:
            self.pattern(column, arguments["pattern"], (*place, "arguments", "pattern"), **more)

    def row_count(self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]) -> None:
        """metric rowCount at the object."""
        limits = row_limits(check)
        if column is not None or limits is None or check.get("unit", "rows") != "rows":
            self.cannot(place, "rowCount other than limits in rows at the object")
        else:
            self.add("row_count", (), limits, **more)

    def freshness(self, sla: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """slaProperties freshness: the newest value of a column, when a run publishes."""
        name = str(sla.get("element") or "").rpartition(".")[2]
        column = self.columns.get(name)
        if column is None or column.type not in {"timestamp", "timestamptz", "date"}:
            problem = f"freshness needs a date or timestamp column, and '{name}' is none"
            self.say("DTV046", place, problem, "element: <object>.<column>")
            return
        seconds = _UNITS_S.get(str(sla.get("unit", "h")).lower())
        if seconds is None or not isinstance(sla.get("value"), (int, float)):
            self.say("DTV046", place, "freshness needs a number and a unit", f"unit: one of {listed(_UNITS_S, 30)}")
            return
        self.add("freshness", (name,), {"max_age_s": int(sla["value"] * seconds)})


_UNITS_S = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip


def _members(
    prop: Mapping[str, Any], place: tuple[PathPart, ...]
) -> Iterator[tuple[Mapping[str, Any], tuple[PathPart, ...]]]:
    for i, member in enumerate(prop.get("properties") or ()):
        yield member, (*place, "properties", i)
    if prop.get("items"):
        yield prop["items"], (*place, "items")
    for name, member in (prop.get("map") or {}).items():
        yield member, (*place, "map", name)
