"""A contract as the rest of the program sees it, whatever it was written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from target_iceberg.load_plan import Column, EvolutionMode, Rule

Spelling = Literal["nested", "flat", "odcs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ContractTarget:
    """`target` of a contract."""

    file_format: str | None = None
    partitioning: tuple[str, ...] = ()
    """Column name, or day(c), month(c), year(c), hour(c), bucket(n, c), truncate(n, c); `ingest_date` is a metadata column."""
    sort_by: tuple[str, ...] = ()
    """Column, or `column desc`."""
    mode: EvolutionMode | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Contract:
    """The contract of one dataset."""

    path: Path
    file: str
    """As findings and listings show it."""
    spelling: Spelling
    name: str
    """Also the table's name."""
    version: str
    object: str
    title: str | None = None
    """ODCS name of a document whose object has another one; it is looked up by this, too."""
    source_type: str | None = None
    domain: str | None = None
    tenant: str | None = None
    status: str | None = None
    description: str | None = None
    columns: tuple[Column, ...] = ()
    key: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    """Named <object>.<column>.<kind>; `Contract` of a SourceObject has them named after its stream."""
    classification: dict[str, str] = field(default_factory=dict)
    """Column -> the contract's word: PII, SENSITIVE, or own words."""
    retention_days: int | None = None
    target: ContractTarget = ContractTarget()
    governance: dict[str, Any] = field(default_factory=dict)
    finops: dict[str, Any] = field(default_factory=dict)
    compliance: dict[str, Any] = field(default_factory=dict)
    canonical: dict[str, Any] = field(default_factory=dict)
    """The ODCS document of this one object."""
    digest: str = ""
    """sha256 of the canonical document, hexadecimal."""

    @property
    def column_names(self) -> tuple[str, ...]:
        """Top-level columns in their order."""
        return tuple(c.name for c in self.columns)
