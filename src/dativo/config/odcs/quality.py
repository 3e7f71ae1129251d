"""ODCS quality checks -> data rules: what judges each record, and what judges all that a run loads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.odcs.rules import RuleReader
from dativo.config.odcs.values import OPERATORS, at_most, fits, is_zero, limit_problem, limits, row_limits

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dativo.config.diagnostics import PathPart
    from target_iceberg.load_plan import Column, Severity

SEVERITIES: dict[str, Severity] = {
    "error": "error", "critical": "error", "blocker": "error", "high": "error", "major": "error",
    "warning": "warning", "warn": "warning", "minor": "warning", "medium": "warning", "low": "warning", "info": "warning",
}  # fmt: skip


class QualityReader(RuleReader):
    """Reads the rules of one schema object, its quality checks included."""

    def read_property(self, prop: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """All rules of one top-level column."""
        super().read_property(prop, place)
        for i, check in enumerate(prop.get("quality") or ()):
            self.quality(check, (*place, "quality", i), self.columns[prop["name"]])

    def quality(self, check: Mapping[str, Any], place: tuple[PathPart, ...], column: Column | None = None) -> None:
        """One ODCS quality check, of a column or (None) of the object."""
        kind = check.get("type", "library")
        if kind == "text":
            return  # a sentence for people
        if kind == "custom":
            self.cannot((*place, "type"), f"quality checks of type 'custom' ({check.get('engine', 'no engine')})",
                        f"state it with type: sql, or with metric: {listed(METRICS)}, or as type: text")  # fmt: skip
            return
        severity = SEVERITIES.get(str(check.get("severity", "error")).lower())
        if severity is None:
            problem = f"unknown severity '{check['severity']}'{did_you_mean(str(check['severity']), SEVERITIES)}"
            self.say("DTV046", (*place, "severity"), problem, "use error or warning")
            return
        name = re.sub(r"\W+", "_", str(check["name"])).strip("_").lower() if check.get("name") else None
        more = {"severity": severity, "description": check.get("description"), "name": name or None}
        if kind == "sql":
            self.sql(check, place, column, more)
        else:
            self.library(check, place, column, more)

    def library(
        self, check: Mapping[str, Any], place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]
    ) -> None:
        """A metric of the ODCS library."""
        metric = check.get("metric") or check.get("rule")
        readers = {
            "nullValues": self.null_values, "missingValues": self.missing_values, "duplicateValues": self.duplicates,
            "invalidValues": self.invalid_values, "rowCount": self.row_count,
        }  # fmt: skip
        if metric not in readers:
            known = f"use one of: {listed(METRICS)}"
            self.say("DTV045", place, f"unknown quality metric '{metric}'{did_you_mean(str(metric), METRICS)}", known)
            return
        problem_of_limit = limit_problem(check)
        if problem_of_limit:
            self.say("DTV046", place, problem_of_limit, f"write one of {listed(OPERATORS)}")
            return
        if check.get("unit", "rows") not in {"rows", "percent"}:
            self.say("DTV046", (*place, "unit"), f"unknown unit '{check['unit']}'", "use rows or percent")
            return
        readers[metric](check, place, column, more)

    def metric(
        self, name: str, check: Mapping[str, Any], columns: Sequence[str], more: dict[str, Any], **arguments: Any
    ) -> None:
        """A metric of all rows that a run loads, compared with its limit."""
        argument: dict[str, Any] = {"metric": name, "limit": limits(check)}
        if arguments:
            argument["arguments"] = arguments
        if check.get("unit", "rows") != "rows":
            argument["unit"] = check["unit"]
        self.add("metric", columns, argument, **{**more, "name": more.get("name") or name})

    def sql(
        self, check: Mapping[str, Any], place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]
    ) -> None:
        """type sql: one SELECT over the rows that a run loads, tried out on an empty table now."""
        from target_iceberg.sql_rules import SqlProblem, require_valid, with_names

        problem = limit_problem(check)
        if problem:
            self.say("DTV046", place, problem, f"write one of {listed(OPERATORS)}")
            return
        try:
            query = with_names(str(check["query"]), self.stream, column.name if column else None)
            require_valid(query, self.stream, tuple(self.columns.values()))
        except SqlProblem as e:
            remedy = "write one SELECT of one number over ${object}, in the SQL of DuckDB"
            self.say("DTV046", (*place, "query"), f"the query cannot be a rule: {e}", remedy)
            return
        argument = {"query": query, "table": self.stream, "limit": limits(check)}
        self.add("sql", (column.name,) if column else (), argument, **{**more, "name": more.get("name") or "sql"})

    def null_values(self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]) -> None:
        """metric nullValues: none, which judges each record, or a limit, which judges all of them."""
        if column is None:
            self.cannot(place, "nullValues of a whole object", "write it at a column")
        elif is_zero(check):
            self.add("not_null", (column.name,), **more)
        else:
            self.metric("nullValues", check, (column.name,), more)

    def missing_values(
        self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]
    ) -> None:
        """metric missingValues: nothing but NULL and the empty text can be told from a value."""
        values = (check.get("arguments") or {}).get("missingValues", [None])
        if column is None:
            self.cannot(place, "missingValues of a whole object", "write it at a column")
            return
        if not is_zero(check) or any(v not in (None, "") for v in values):
            wrong = [v for v in values if v is not None and not fits(v, column.type)]
            if wrong:
                problem = f"{wrong[0]!r} can never be a value of '{column.name}', a {column.type}"
                self.say("DTV046", (*place, "arguments", "missingValues"), problem, "write values of the column's type")
                return
            self.metric("missingValues", check, (column.name,), more, missingValues=values)
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
        if most is None:
            self.metric("duplicateValues", check, names, more)
            return
        self.add("unique", tuple(names), {"max": most, "unit": unit} if most else None, **more)

    def invalid_values(
        self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]
    ) -> None:
        """metric invalidValues with validValues or a pattern, mustBe 0."""
        arguments = check.get("arguments") or {}
        if column is None or not arguments.keys() & {"validValues", "pattern"}:
            self.cannot(place, "invalidValues without validValues or pattern at a column")
            return
        for key in sorted(arguments.keys() - {"validValues", "pattern"}):
            self.cannot((*place, "arguments", key), f"the argument '{key}' of invalidValues")
        if not is_zero(check):
            known = {k: arguments[k] for k in ("validValues", "pattern") if k in arguments}
            self.tried(column, known, place)
            self.metric("invalidValues", check, (column.name,), more, **known)
            return
        if "validValues" in arguments:
            self.enum(column, arguments["validValues"], (*place, "arguments", "validValues"), **more)
        if "pattern" in arguments:
            self.pattern(column, arguments["pattern"], (*place, "arguments", "pattern"), **more)

    def tried(self, column: Column, arguments: Mapping[str, Any], place: tuple[PathPart, ...]) -> None:
        """Report what of a metric's arguments could not be checked, without making rules of them."""
        trial = QualityReader(self.stream, tuple(self.columns.values()), self.document, self.findings)
        if "validValues" in arguments:
            trial.enum(column, arguments["validValues"], (*place, "arguments", "validValues"))
        if "pattern" in arguments:
            trial.pattern(column, arguments["pattern"], (*place, "arguments", "pattern"))

    def row_count(self, check: Any, place: tuple[PathPart, ...], column: Column | None, more: dict[str, Any]) -> None:
        """metric rowCount at the object."""
        allowed = row_limits(check)
        if column is not None or check.get("unit", "rows") != "rows":
            self.cannot(place, "rowCount of a column or in percent", "write it at the object, in rows")
        elif allowed is None:
            self.metric("rowCount", check, (), more)
        else:
            self.add("row_count", (), allowed, **more)

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


METRICS = ("rowCount", "nullValues", "missingValues", "invalidValues", "duplicateValues")
_UNITS_S = {
    "s": 1, "sec": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
}  # fmt: skip
