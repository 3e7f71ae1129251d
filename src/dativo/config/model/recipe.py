"""connectors/…/<name>.yaml: how to connect; secrets by name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from dativo.config.model.base import Authored, EngineType, Role, Settings, Strategy


class Engine(Authored):
    """Which kind of plugin runs the connector, and its settings."""

    type: EngineType | None = None
    options: Settings = Field(default_factory=dict)
    """Plugin settings; below the name of an engine, settings for that engine alone. `plugin`, `executable` and `pip_url`
    name another Singer executable."""


class Credentials(Authored):
    """One secret by name."""

    type: str
    from_env: str | dict[str, str] | None = None
    """Environment variable that holds the secret, or a mapping setting -> variable."""
    file_template: str | None = None
    """File that holds it, e.g. /secrets/{tenant}/gdrive.json."""

    @model_validator(mode="after")
    def _one_place(self) -> Credentials:
        if self.type != "none" and (self.from_env is None) == (self.file_template is None):
            raise ValueError("give either from_env (a variable's name) or file_template (a file's path)")
        return self


class IncrementalDefaults(Authored):
    """How the source is read again unless the job says otherwise."""

    strategy: Strategy | None = None
    cursor_field: str | None = None
    lookback_days: int | None = None
    lookback_hours: int | None = None
    lookback_seconds: int | None = None
    null_cursor: Literal["load_once", "every_run", "error"] | None = None


class RateLimits(Authored):
    """What the source's owner allows."""

    requests_per_second: float | None = None
    requests_per_minute: float | None = None
    burst: int | None = None
    concurrency: int | None = None


NamesBySetting = dict[str, str | dict[str, str]]


def _credentials_form(value: Any) -> str:
    return "typed" if isinstance(value, Credentials) or (isinstance(value, dict) and "type" in value) else "by_setting"


class Recipe(Authored):
    """How to connect to one system."""

    name: str | None = None
    """Unless given, the file's stem."""
    type: str
    """Connector type of the registry."""
    description: str | None = None
    roles: list[Role] | None = None
    """Needed only for connectors/<name>.yaml, which lies in no role's directory."""
    default_engine: Engine | None = None
    credentials: (
        Annotated[
            Annotated[Credentials, Tag("typed")] | Annotated[NamesBySetting, Tag("by_setting")],
            Discriminator(_credentials_form),
        ]
        | None
    ) = None
    """{type, from_env | file_template}, or a mapping setting -> variable's name."""
    connection_template: Settings = Field(default_factory=dict)
    incremental: IncrementalDefaults | None = None
    parallel: int | None = Field(default=None, ge=1, le=16)
    """Readers at once, unless the job says otherwise."""
    detect_deletes: Literal["keys"] | None = None
    """How rows that are gone are found, unless the job says otherwise."""
    rate_limits: RateLimits | None = None
