"""registry/connectors.yaml, version 3: which connector types exist and what each can do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from dativo.config.model.base import Authored, EngineType, Role, Settings, Strategy

Category = Literal["api", "database", "files", "spreadsheet", "lake", "object_store"]


class PluginSpec(Authored):
    """The Singer executable that serves a connector type by default."""

    name: str
    """Singer and Meltano name: tap-csv."""
    executable: str
    distribution: str | None = None
    """What pip installs when the executable is missing."""
    pip_url: str | None = None
    """Given: the plugin lives in an environment of its own, made by `dativo install`."""
    accepts_arrow: bool = False
    """Tap: can send Arrow batches; target: understands them."""
    secrets_by_name: bool = False
    """Takes `<setting>_env: NAME` and reads the secret from its environment itself."""


class Auth(Authored):
    """How the connector authenticates."""

    methods: list[str]
    """Words that a recipe's `credentials.type` may have: api_key, oauth, service_account, password, none, ..."""
    settings: dict[str, str] = Field(default_factory=dict)
    """Method -> plugin setting that takes its secret."""


class Selection(Authored):
    """How `source.objects`, `files`, `tables` or `sheets` of a job become settings of the plugin."""

    key: Literal["objects", "files", "tables", "sheets"]
    """Which of the four a job writes for this connector."""
    setting: str | None = None
    """Plugin setting that takes the list; None: the Singer catalog alone selects."""
    item: dict[str, Any] | str | None = None
    """One item of the list: `{field}` is the field of the job's entry; an entry without it leaves the key out."""
    required: list[str] = Field(default_factory=list)
    """Fields that an entry must have."""
    default_schema: str | None = None
    """Schema of tables that are named without one; None: the connection says it."""


class ConnectorType(Authored):
    """One connector type."""

    roles: list[Role] = Field(min_length=1)
    category: Category
    description: str | None = None
    default_engine: EngineType = "singer"
    engines_supported: list[EngineType] = ["singer"]  # noqa: RUF012  pydantic copies it
    plugin: PluginSpec
    auth: Auth = Auth(methods=["none"])
    allowed_in_cloud: bool = True
    supports_incremental: bool = False
    incremental_strategies: list[Strategy] = ["full_refresh"]  # noqa: RUF012  pydantic copies it
    """What `source.incremental.strategy` may be."""
    incremental_strategy_default: Strategy = "full_refresh"
    cursor_field_default: str | None = None
    """Cursor of every object when recipe and job name none."""
    supports_log_based: bool = False
    resume: Literal["none", "inclusive", "exclusive"] = "none"
    """Whether a tap continues from any STATE it sent, and whether the row at the bookmark is read again (inclusive)."""
    resumes_loads: bool = False
    """A load of everything, too, goes on behind the last STATE of one that was killed."""
    objects_supported: list[str] = Field(default_factory=list)
    """Objects that the tap has; empty: any."""
    supports_queries: bool = False
    """A job may list `queries`, which the plugin takes in its setting of the same name."""
    file_formats: list[str] = Field(default_factory=list)
    settings: dict[str, Settings] | None = None
    """Settings of the plugin as JSON Schemas; a connector that lists them refuses others. Absent: not checked."""
    setting_defaults: Settings = Field(default_factory=dict)
    """Registry's part of the cascade."""
    settings_from: dict[str, str] = Field(default_factory=dict)
    """Plugin setting -> what feeds it: incremental.lookback_days, parallel, detect_deletes, rate_limits.requests_per_second, environment, tenant."""
    connection_settings: dict[str, str] = Field(default_factory=dict)
    """Key of `connection` -> plugin setting, where the two names differ."""
    identity: list[str] = Field(default_factory=list)
    """Settings that say which system is read; a bookmark is refused when they change."""
    selection: Selection | None = None


class Registry(Authored):
    """The whole file. A project's file adds connector types, or replaces built-in ones of the same name."""

    version: Literal[3]
    connectors: dict[str, ConnectorType]
