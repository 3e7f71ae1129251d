"""Findings as text for people and as JSON for programs; nothing is computed here."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Literal, TextIO

from dativo.config.diagnostics import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dativo.config.diagnostics import Finding

Format = Literal["text", "json"]


def print_findings(findings: Iterable[Finding], output_format: Format, stream: TextIO) -> None:
    """Write findings in the order of their files and lines."""
    ordered = in_order(findings)
    if output_format == "json":
        stream.write(json.dumps({"findings": [as_json(f) for f in ordered], **counts(ordered)}, indent=2) + "\n")
        return
    stream.writelines(as_text(f) + "\n" for f in ordered)
    if ordered:
        stream.write(summary(ordered) + "\n")


def as_text(finding: Finding) -> str:
    """`file:line:column [path] what is wrong (code name)`, and below it what to do."""
    path = f" {finding.path}:" if finding.path else ""
    word = "" if finding.severity == "error" else "warning: "
    return f"{finding.place}:{path} {word}{finding.problem} ({finding.code} {finding.name})\n    {finding.remedy}"


def as_json(finding: Finding) -> dict[str, Any]:
    """All fields of a finding."""
    return {
        "code": finding.code,
        "name": finding.name,
        "severity": finding.severity,
        "file": finding.file,
        "line": finding.line,
        "column": finding.column,
        "path": finding.path,
        "problem": finding.problem,
        "remedy": finding.remedy,
    }


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """How many errors and warnings."""
    severities = [f.severity for f in findings]
    return {"errors": severities.count("error"), "warnings": severities.count("warning")}


def summary(findings: Iterable[Finding]) -> str:
    """`2 errors and 1 warning in 2 files`."""
    listed = list(findings)
    number = counts(listed)
    parts = [
        _plural(number[kind], word) for kind, word in (("errors", "error"), ("warnings", "warning")) if number[kind]
    ]
    return f"{' and '.join(parts)} in {_plural(len({f.file for f in listed}), 'file')}"


def _plural(n: int, word: str) -> str:
    return f"{n} {word}" if n == 1 else f"{n} {word}s"
