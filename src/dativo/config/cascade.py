"""The one cascade: registry default < recipe < job. This table is the only place that says what overrides what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dativo.config.model.base import Role


@dataclass(frozen=True, slots=True)
class Row:
    """One value and where each of the three may say it; dotted paths, None where it cannot."""

    value: str
    registry: str | None
    recipe: str | None
    job: str | None
    """Below `source` or `target` of the job."""
    merge: Literal["last", "deep"] = "last"
    """last: the last word counts; deep: mappings are merged key by key, other values are replaced."""


CASCADE: tuple[Row, ...] = (
    Row("engine", "default_engine", "default_engine.type", "engine.type"),
    Row("options", "setting_defaults", "default_engine.options", "engine.options", "deep"),
    Row("connection", None, "connection_template", "connection", "deep"),
    Row("credentials", None, "credentials", None),
    Row("strategy", "incremental_strategy_default", "incremental.strategy", "incremental.strategy"),
    Row("cursor_field", "cursor_field_default", "incremental.cursor_field", "incremental.cursor_field"),
    Row("lookback_days", None, "incremental.lookback_days", "incremental.lookback_days"),
    Row("lookback_hours", None, "incremental.lookback_hours", "incremental.lookback_hours"),
    Row("lookback_seconds", None, "incremental.lookback_seconds", "incremental.lookback_seconds"),
    Row("null_cursor", None, "incremental.null_cursor", "incremental.null_cursor"),
    Row("parallel", None, "parallel", "parallel"),
    Row("detect_deletes", None, "detect_deletes", "detect_deletes"),
    Row("rate_limits", None, "rate_limits", None, "deep"),
)


def cascade(
    role: Role, registry: Mapping[str, Any], recipe: Mapping[str, Any], job: Mapping[str, Any]
) -> dict[str, Any]:
    """Every value of the table for one role; what nobody says is None (or {} where mappings are merged).

    A strategy that job or recipe chooses itself does not inherit the cursor of a strategy further down.
    """
    section = job.get(role) or {}
    values: dict[str, Any] = {}
    for row in CASCADE:
        said = [get(registry, row.registry), get(recipe, row.recipe), get(section, row.job)]
        if row.merge == "deep":
            merged: dict[str, Any] = {}
            for layer in said:
                merged = deep_merge(merged, layer or {})
            values[row.value] = merged
        else:
            values[row.value] = next((layer for layer in reversed(said) if layer is not None), None)
    return values


def get(mapping: Mapping[str, Any], dotted: str | None) -> Any:
    """Value at a dotted path, None where there is none."""
    value: Any = mapping
    for part in dotted.split(".") if dotted else ():
        value = value.get(part) if isinstance(value, dict) else None
    return value if dotted else None


def deep_merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` wins; mappings are merged key by key."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = deep_merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged
