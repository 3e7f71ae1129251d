"""jobs/<tenant>/<job>.yaml: connector x contract x target x tenant settings."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from dativo.config.model.base import Authored, Extensible, Settings, Strategy
from dativo.config.model.connection import TargetConnection  # noqa: TC001  pydantic evaluates it
from dativo.config.model.recipe import Engine  # noqa: TC001  pydantic evaluates it


class SourceFile(Authored):
    """A file, or files by a glob, that become one object."""

    path: str
    object: str
    options: Settings = Field(default_factory=dict)
    """Settings for these files alone: delimiter, encoding, ..."""


class SourceTable(Authored):
    """A table of a database."""

    name: str
    """As the database knows it: public.orders."""
    object: str | None = None
    """Name of the object; unless given, the table's name without its schema."""
    cursor_field: str | None = None


class SourceQuery(Authored):
    """A query that is read as if it were a table."""

    name: str
    """Name of the object."""
    sql: str
    """One SELECT without a semicolon."""
    key: list[str] | str | None = None
    """Columns of its key; the contract's primaryKey says the same to the table."""
    cursor_field: str | None = None


class SourceSheet(Authored):
    """A sheet of a spreadsheet."""

    spreadsheet_id: str
    sheet_id: str | int | None = None
    object: str
    range: str | None = None


class Incremental(Authored):
    """How the source is read again."""

    strategy: Strategy | None = None
    cursor_field: str | None = None
    lookback_days: int | None = Field(default=None, ge=0)
    """Read so many days before the bookmark again; hours and seconds add to it."""
    lookback_hours: int | None = Field(default=None, ge=0)
    lookback_seconds: int | None = Field(default=None, ge=0)
    null_cursor: Literal["load_once", "every_run", "error"] | None = None
    """Rows of a database whose cursor is NULL or infinite: with the first load (the default), with every run, or an error."""
    state_path: str | None = None
    """Of the mirror for people; the bookmark itself lies in the table."""


class JobSource(Authored):
    """What a job reads."""

    objects: list[str] | None = None
    files: list[SourceFile] | None = None
    tables: list[SourceTable | str] | None = None
    """Tables, or their names; a name like public.* means all that have a contract."""
    exclude: list[str] | None = None
    """Names or patterns of tables that the patterns in `tables` do not mean."""
    queries: list[SourceQuery] | None = None
    sheets: list[SourceSheet] | None = None
    parallel: int | None = Field(default=None, ge=1, le=16)
    """Readers at once, for databases whose sessions can share a moment."""
    detect_deletes: Literal["keys"] | None = None
    """keys: rows of a database that are gone are found by comparing keys, and marked with _sdc_deleted_at or, with
    target.hard_delete, deleted."""
    incremental: Incremental | None = None
    connection: Settings = Field(default_factory=dict)
    engine: Engine | None = None


class JobTarget(Authored):
    """Where a job writes."""

    branch: str | None = None
    warehouse: str | None = None
    namespace: str | None = None
    table: str | None = None
    connection: TargetConnection | None = None
    engine: Engine | None = None
    parquet_target_size_mb: int | None = Field(default=None, ge=1, le=4096)
    markdown_kv_storage: str | Settings | None = None
    file_format: str | None = None
    path_pattern: str | None = None
    write_mode: Literal["append", "upsert", "replace"] | None = None
    mode: Literal["strict", "merge", "relaxed"] | None = None
    """EvolutionMode; overrides the contract's."""
    allow_empty: bool = False
    adopt: bool = False
    at_least_once: bool = False
    publish_every_s: float | None = Field(default=None, ge=1)
    add_record_metadata: bool = False
    hard_delete: bool = False
    content_digest: bool = False


class RetryConfig(Authored):
    """When a failed run is tried again."""

    max_retries: int = Field(default=0, ge=0, le=100)
    initial_delay_seconds: float = Field(default=1.0, ge=0)
    max_delay_seconds: float = Field(default=60.0, ge=0)
    backoff_multiplier: float = Field(default=2.0, ge=1)
    retryable_exit_codes: list[int] = Field(default_factory=list)
    retryable_error_patterns: list[str] = Field(default_factory=list)

    @field_validator("retryable_error_patterns")
    @classmethod
    def _patterns_compile(cls, patterns: list[str]) -> list[str]:
        try:
            return [re.compile(pattern).pattern for pattern in patterns]
        except re.error as e:
            raise ValueError(f"{e.pattern!r} is not a regular expression: {e}") from e


class LoggingConfig(Authored):
    """How a run logs."""

    redaction: bool = True
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "debug", "info", "warning", "error"] | None = None


class GovernanceOverrides(Extensible):
    """What the job says differently from the contract's governance."""

    owner: str | None = None
    retention_days: int | None = None


class Job(Authored):
    """One job file."""

    tenant_id: str | None = None
    environment: str | None = None
    description: str | None = None
    source_connector: str | None = None
    source_connector_path: str | None = None
    target_connector: str | None = None
    target_connector_path: str | None = None
    asset: str | None = None
    """Name or object of a contract; `name@1.0` pins a version."""
    asset_path: str | None = None
    assets: dict[str, str] | None = None
    """Object -> path, name or name@version of its contract."""
    source: JobSource = JobSource()
    target: JobTarget = JobTarget()
    schema_validation_mode: Literal["strict", "warn"] = "strict"
    max_rejected: int | str | None = None
    """Above it a run in warn mode publishes nothing: a count, or a percentage like "1%"."""
    retry_config: RetryConfig | None = None
    classification_overrides: dict[str, str] = Field(default_factory=dict)
    governance_overrides: GovernanceOverrides | None = None
    finops: dict[str, Any] = Field(default_factory=dict)
    logging: LoggingConfig | None = None
    catalog: Settings | None = None
    """Metadata catalogs; accepted with a notice."""

    @field_validator("max_rejected")
    @classmethod
    def _count_or_percent(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, str) and not re.fullmatch(r"\d+(\.\d+)?\s*%", value):
            raise ValueError('must be a count like 100 or a percentage like "1%"')
        if isinstance(value, int) and value < 0:
            raise ValueError("must not be negative")
        return value
