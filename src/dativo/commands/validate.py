"""`dativo validate`: all findings of all files at once."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from dativo.config.checking import check
from dativo.config.diagnostics import has_errors
from dativo.config.project import Project
from dativo.config.report import print_findings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dativo.config.model.resolved import DeploymentMode
    from dativo.config.report import Format


def validate(
    paths: Iterable[Path] = (), *, mode: DeploymentMode = "self_hosted", output_format: Format = "text"
) -> int:
    """Check files and directories, or the whole project; 0 when jobs can run, 2 when there are errors."""
    checked = check(Project.discover(), paths, mode=mode)
    print_findings(checked.findings, output_format, sys.stdout)
    if output_format == "text":
        counts = ", ".join(_plural(n, kind) for kind, n in sorted(checked.counts.items()) if n)
        verdict = "not valid" if has_errors(checked.findings) else "valid"
        click.echo(f"{counts or 'nothing'} checked: {verdict}")
    return 2 if has_errors(checked.findings) else 0


def _plural(n: int, kind: str) -> str:
    plurals = {"registry": "registries", "policy": "policies"}
    return f"{n} {kind}" if n == 1 else f"{n} {plurals.get(kind, f'{kind}s')}"
