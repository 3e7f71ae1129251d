"""What all models of authored files share: unknown keys are findings, and text is never made from numbers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Strategy = Literal[
    "created",
    "updated",
    "updated_at",
    "updated_after",
    "append",
    "file_modified_time",
    "spreadsheet_modified_time",
    "log_based",
    "full_refresh",
]
EngineType = Literal["singer", "native", "meltano", "airbyte"]
ENGINE_TYPES: tuple[EngineType, ...] = ("singer", "native", "meltano", "airbyte")
Role = Literal["source", "target"]
Settings = dict[str, Any]
"""Settings of a plugin, whose keys are the plugin's business."""


class Authored(BaseModel):
    """A mapping that people write."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)


class Extensible(BaseModel):
    """A mapping that people write and may extend with keys of their own: governance, finops, compliance."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, populate_by_name=True)
