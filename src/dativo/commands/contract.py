"""`dativo contract show`: a contract as the program understands it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from dativo.commands.output import print_json
from dativo.config.contracts import Contracts
from dativo.config.diagnostics import did_you_mean, has_errors
from dativo.config.project import Project
from dativo.config.report import as_text
from dativo.errors import DativoError

if TYPE_CHECKING:
    from dativo.config.diagnostics import Finding
    from dativo.config.model.contract import Contract


def show(name: str, *, output_format: Literal["odcs", "json"] = "odcs") -> int:
    """Print the contracts with a name, object or file: as ODCS, or as the columns and rules that a run checks.

    Raises:
        DativoError: there is none, or it has errors.
    """
    findings: list[Finding] = []
    contracts = Contracts(Project.discover())
    found = contracts.named(name, findings)
    if has_errors(findings):
        raise DativoError("\n".join(as_text(f) for f in findings))
    if not found:
        raise DativoError(
            f"no contract '{name}'{did_you_mean(name, contracts.words())}",
            f"there are: {', '.join(contracts.words()) or 'none'}",
        )
    if output_format == "json":
        print_json([_plain(c) for c in found] if len(found) > 1 else _plain(found[0]))
    else:
        click.echo(_odcs_text(found), nl=False)
    return 0


def _odcs_text(contracts: list[Contract]) -> str:
    from dativo.lower import yaml_text

    return "---\n".join(f"# {c.file}\n{yaml_text.dump(c.canonical)}" for c in contracts)


def _plain(contract: Contract) -> dict[str, Any]:
    fields = {k: v for k, v in asdict(contract).items() if k not in {"canonical", "path"}}
    for name in ("columns", "rules"):
        fields[name] = [msgspec.to_builtins(item) for item in getattr(contract, name)]
    return fields
