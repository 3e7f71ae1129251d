"""configs/policy.yaml: rules over all jobs and contracts of a project."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from dativo.config.model.base import Authored

Enforcement = Literal["strict", "warn", "off"]


class ClassificationRule(Authored):
    """Columns whose name fits must carry a classification."""

    pattern: str
    """Regular expression, searched in the column's name."""
    classification: str
    description: str | None = None

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as e:
            raise ValueError(f"not a regular expression: {e}") from e
        return pattern


class ContractEnforcement(Authored):
    """What every contract must have."""

    mode: Enforcement = "strict"
    require_owner: bool = False
    require_primary_key: bool = False
    require_description: bool = False


class Policy(Authored):
    """The whole file."""

    retention_days: int | dict[str, int] | None = None
    """For all, or by domain or classification."""
    pii_fields: list[str] = Field(default_factory=list)
    """Column names that are always PII."""
    classification_rules: list[ClassificationRule] | dict[str, str] = Field(default_factory=list)
    """Rules, or a mapping pattern -> classification."""
    masking: dict[str, Literal["none", "null", "hash", "truncate", "redact"]] = Field(default_factory=dict)
    """Classification -> what is done to the values of such columns before they reach a disk."""
    masking_key: str = Field(default="DATIVO_MASK_KEY", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of the tenant's secret that `hash` is keyed with."""
    contract_enforcement: Enforcement | ContractEnforcement = "strict"
