"""Findings: what is wrong with a project's files, where, and what to do; and the list of everything that can be found."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Severity = Literal["error", "warning"]
PathPart = str | int

LINTS: dict[str, tuple[str, str]] = {
    # Reading a file
    "DTV001": ("unreadable-file", "A file cannot be opened or read."),
    "DTV002": ("not-utf8", "A file is not UTF-8 text."),
    "DTV003": ("tab", "A tab stands where YAML wants spaces."),
    "DTV004": ("yaml-syntax", "A file is not one well-formed YAML document."),
    "DTV005": ("duplicate-key", "A mapping has a key twice; YAML would silently keep the last."),
    "DTV006": ("empty-file", "A file says nothing."),
    # One file against its model
    "DTV010": ("unknown-key", "A key that nothing reads."),
    "DTV011": ("wrong-type", "A value of the wrong type."),
    "DTV012": ("missing-key", "A key that must be there is not."),
    "DTV013": ("bad-value", "A value outside what the key allows."),
    "DTV014": ("version-not-text", "A version without quotes is a number: 1.10 would become 1.1."),
    # Jobs and tenants
    "DTV020": ("no-jobs", "There is no job where jobs were asked for."),
    "DTV021": ("no-such-path", "A path that was asked for does not exist."),
    "DTV022": ("tenant-missing", "A job says neither by its directory nor by tenant_id whose it is."),
    "DTV023": ("tenant-mismatch", "A job lies in the directory of another tenant."),
    "DTV024": ("unsafe-name", "A tenant, job or object name that cannot be part of a path or an address."),
    "DTV025": ("duplicate-job", "Two jobs of one tenant have the same name."),
    # Connectors
    "DTV030": ("unknown-connector", "A job names a connector that has no recipe."),
    "DTV031": ("unknown-connector-type", "A recipe's type is not in the registry."),
    "DTV032": ("wrong-role", "A source connector stands as target, or the other way round."),
    "DTV033": ("not-in-cloud", "A connector that may only run self-hosted is used in cloud mode."),
    "DTV034": ("engine-not-supported", "A recipe or job asks for an engine that cannot run the connector."),
    "DTV035": ("bad-credentials", "Credentials that do not fit the connector's authentication."),
    "DTV036": ("inline-secret", "A secret stands in a file instead of its name."),
    "DTV037": ("bad-selection", "A job does not say what to read, or says it in another connector's words."),
    "DTV038": ("unknown-setting", "A setting that the plugin does not know."),
    # Contracts
    "DTV040": ("contract-missing", "No contract is found for an object."),
    "DTV041": ("contract-ambiguous", "Two contracts match one name."),
    "DTV042": ("duplicate-column", "A contract has a column twice."),
    "DTV043": ("bad-column-type", "A type word that no column can have."),
    "DTV044": ("bad-key", "A key column that is not in the schema, may be null, or cannot be compared."),
    "DTV045": ("rule-not-executable", "A data rule that this version cannot check; it is never skipped silently."),
    "DTV046": ("bad-rule", "A data rule that contradicts itself or its column."),
    "DTV047": ("bad-partitioning", "Partitioning by something that is not a column or not a transform."),
    "DTV048": ("not-odcs", "The contract is not valid Open Data Contract Standard."),
    "DTV049": ("version-directory", "The directory says another version than the contract in it."),
    "DTV050": ("bad-table-name", "A table, namespace or column name that lake catalogs refuse or misread."),
    "DTV051": ("contract-elsewhere", "A contract that belongs to another tenant or source."),
    "DTV052": ("place-missing", "A target in an object store that does not say where its files go."),
    "DTV053": ("place-of-another", "A path, prefix or name that leads out of the tenant's own places."),
    # Reading again, writing
    "DTV060": ("strategy-not-supported", "An incremental strategy that the connector cannot follow."),
    "DTV061": ("cursor-missing", "An incremental strategy needs a cursor and there is none."),
    "DTV062": ("cursor-not-a-column", "The cursor is not a column of the contract."),
    "DTV063": ("append-refused", "Appending would double rows after a crash: the source may read rows again."),
    "DTV064": ("write-mode-refused", "A write mode that contradicts the contract or the strategy."),
    "DTV065": ("one-table-many-objects", "Several objects of a job would write one table."),
    "DTV066": ("rounds-refused", "A run may not publish in rounds what has to be read again as a whole."),
    "DTV067": ("hard-delete-refused", "Rows that are appended cannot be found again when the source deletes them."),
    "DTV068": ("branch-refused", "A branch that is not the tenant's own, or that Nessie would not have."),
    "DTV069": ("format-refused", "A file format that the target does not write, or that cannot do what the job asks."),
    # configs/runner.yaml
    "DTV070": ("schedule-without-job", "A schedule names a job that does not exist."),
    "DTV071": ("bad-cron", "A cron expression that no scheduler understands."),
    "DTV072": ("duplicate-schedule", "Two schedules have the same name."),
    "DTV073": ("bad-timezone", "A time zone that does not exist."),
    "DTV080": ("policy-broken", "A contract that lacks what configs/policy.yaml wants."),
    "DTV081": ("mask-refused", "A mask that the column's type or use does not allow."),
}
"""Every code with its short name and what it means; each has a positive and a negative example in tests/examples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing that is wrong; line and column count from 1 and are None where there is no place to point at."""

    code: str
    file: str
    """Relative to the project root where it lies below it."""
    problem: str
    remedy: str
    line: int | None = None
    column: int | None = None
    path: str = ""
    """YAML path: source.tables[0].name."""
    severity: Severity = "error"
    parts: tuple[PathPart, ...] = field(default=(), repr=False, compare=False)
    """`path` in its parts."""

    @property
    def name(self) -> str:
        """Short name of the code: duplicate-key."""
        return LINTS[self.code][0]

    @property
    def place(self) -> str:
        """file:line:column, as editors and terminals link it."""
        return ":".join(str(p) for p in (self.file, self.line, self.column) if p is not None)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Warnings alone let a job run."""
    return any(f.severity == "error" for f in findings)


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Each finding once, by file and line."""
    return sorted(
        dict.fromkeys(findings), key=lambda f: (f.file, f.line or 0, f.column or 0, f.code, f.path, f.problem)
    )


def yaml_path(parts: Iterable[PathPart]) -> str:
    """`("tables", 0, "name")` -> `tables[0].name`."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """` - did you mean 'hubspot'?`, or nothing when no known word is near."""
    names = {str(k).lower(): str(k) for k in known}
    near = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    return f" - did you mean '{names[near[0]]}'?" if near else ""


def listed(words: Iterable[str], limit: int = 12) -> str:
    """Words for a sentence, cut where nobody reads on."""
    all_words = sorted({str(w) for w in words})
    more = len(all_words) - limit
    return ", ".join(all_words[:limit]) + (f" and {more} more" if more > 0 else "") if all_words else "none"
