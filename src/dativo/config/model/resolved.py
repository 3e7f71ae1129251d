"""A resolved job: every name looked up, every default applied; what lowering, running and probing start from.

`${VAR}` stands unexpanded in every string: resolving is a function of the project's files alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pathlib import Path

    from dativo.config.model.contract import Contract
    from dativo.config.model.registry import ConnectorType

DeploymentMode = Literal["self_hosted", "cloud"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """A Singer executable, as the registry, recipe or job names it."""

    name: str
    """Meltano plugin name and Singer name: tap-csv."""
    executable: str
    pip_url: str | None = None
    """Given: `dativo install` puts it in its own environment (isolated); absent: found on PATH (shared)."""
    distribution: str | None = None
    """What to install when the executable is missing: dativo-tap-csv."""
    accepts_arrow: bool = False
    """Tap: can send Arrow BATCH files; target: understands them."""
    secrets_by_name: bool = False
    """Understands `<setting>_env: NAME` and reads the secret from its environment itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Secret:
    """A secret by name; its value is known only at run time."""

    setting: str
    """Setting of the plugin that takes it, dotted for nested ones: connection.password."""
    name: str
    """Environment variable that carries it: STRIPE_API_KEY."""
    file: str | None = None
    """Template of a file that holds it, e.g. /secrets/{tenant}/gdrive.json; the setting then gets its path."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceObject:
    """One thing to read, which becomes one Singer stream and one table."""

    name: str
    """Name of the object and of the Singer stream."""
    contract: Contract
    selection: dict[str, Any] = field(default_factory=dict)
    """What the job says of it: {"paths": [...]} for files, {"table": .., "cursor_field": ..} for tables, ..."""
    cursor_field: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Incremental:
    """How a source is read again."""

    strategy: str
    """created, updated, updated_at, updated_after, append, file_modified_time, spreadsheet_modified_time, log_based,
    full_refresh."""
    cursor_field: str | None = None
    detects_deletes: bool = False
    """Rows that are gone are found by comparing keys."""
    lookback: str | None = None
    """What is read again before the bookmark, as a setting and its value: "lookback_days: 1"; None: nothing."""

    @property
    def is_full_refresh(self) -> bool:
        """The whole source is read each time."""
        return self.strategy == "full_refresh"

    @property
    def is_log_based(self) -> bool:
        """What changes is read from the database's log."""
        return self.strategy == "log_based"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where a job reads."""

    connector: str
    type: str
    connector_type: ConnectorType
    plugin: Plugin
    settings: dict[str, Any]
    """Plugin settings without secrets, cascade applied (registry < recipe < job)."""
    secrets: tuple[Secret, ...]
    objects: tuple[SourceObject, ...]
    incremental: Incremental
    identity: dict[str, Any]
    """What identifies the connection, without secrets; goes into the fingerprint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where a job writes."""

    connector: str
    type: str
    connector_type: ConnectorType
    plugin: Plugin
    settings: dict[str, Any]
    secrets: tuple[Secret, ...]
    branch: str | None
    """Of the catalog; None: the tenant's."""
    warehouse: str | None
    namespace: str | None
    """The job's word; else the contract's domain, else the source type (decided per object in lowering)."""
    table: str | None
    connection: dict[str, Any]
    """nessie, s3, catalog (PyIceberg properties), gs, azure; flat {endpoint, bucket, prefix} arrives as s3."""
    target_file_size_mb: int | None
    file_format: str | None = None
    path_pattern: str | None = None
    write_mode: str | None = None
    evolution: str | None = None
    base_branch: str | None = None
    """The branch that the job names, when a run is told to publish on another one."""
    allow_empty: bool = False
    adopt: bool = False
    at_least_once: bool = False
    publish_every_s: float | None = None
    add_record_metadata: bool = False
    hard_delete: bool = False
    content_digest: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Retry:
    """`retry_config`; delays in seconds."""

    max_retries: int = 0
    initial_delay_s: float = 1.0
    max_delay_s: float = 60.0
    backoff_multiplier: float = 2.0
    exit_codes: tuple[int, ...] = ()
    error_patterns: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Logging:
    """`logging`."""

    redaction: bool = True
    level: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedJob:
    """One job, complete."""

    path: Path
    tenant: str
    name: str
    """File stem; unique per tenant."""
    environment: str
    source: Source
    target: Target
    violations: Literal["strict", "warn"] = "strict"
    max_rejected_rows: int | None = None
    max_rejected_percent: float | None = None
    retry: Retry = Retry()
    logging: Logging = Logging()
    state_path: str | None = None
    """The mirror's path when the job names one; else state/<tenant>/<job>/state.json."""
    finops: dict[str, Any] = field(default_factory=dict)
    governance: dict[str, Any] = field(default_factory=dict)
    mask_key_env: str | None = None
    """Name of the secret that columns are hashed with, where any is."""
    notices: tuple[str, ...] = ()
    """What the user should know though it is no finding, e.g. metadata catalogs are not supported yet."""
