"""Secrets by name: a setting `password` may stand in the configuration, or `password_env` names the variable that has it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def secret(config: Mapping[str, Any], name: str, problems: list[str]) -> str | None:
    """The value of a secret setting, None where it is not set; a variable that is named and not there is a problem."""
    variable = config.get(f"{name}_env")
    if not variable:
        value = config.get(name)
        return str(value) if value else None
    if variable not in os.environ:
        problems.append(f"{name}_env names {variable}, which is not set in the environment")
    return os.environ.get(str(variable))


def settings_of(name: str, description: str) -> dict[str, dict[str, Any]]:
    """The two settings of a secret, as JSON Schemas."""
    text = {"type": ["string", "null"]}
    return {
        name: {**text, "secret": True, "description": f"{description}; better named by {name}_env."},
        f"{name}_env": {
            **text,
            "description": f"Environment variable with it: {description[0].lower()}{description[1:]}.",
        },
    }
