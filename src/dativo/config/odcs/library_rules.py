"""Library checks as ODCS 3.0 spells them (`rule: nullCheck`), in the words of 3.1 and later (`metric: nullValues`)."""

from __future__ import annotations

from typing import Any

_METRICS = {
    "nullCheck": "nullValues",
    "duplicateCount": "duplicateValues",
    "uniqueCheck": "duplicateValues",
    "validValues": "invalidValues",
    "rowCount": "rowCount",
}
_NONE_BY_DEFAULT = ("nullCheck", "uniqueCheck", "validValues")
"""Rules that say by their name that there may be none; a limit is optional."""
_ARGUMENTS = ("validValues", "pattern", "properties")


def with_metrics(value: Any) -> Any:
    """The document with every check that has a rule but no metric respelled; whatever else is in it stays."""
    if isinstance(value, list):
        return [with_metrics(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        k: [_check(c) for c in v] if k == "quality" and isinstance(v, list) else with_metrics(v)
        for k, v in value.items()
    }


def _check(check: Any) -> Any:
    if not isinstance(check, dict) or "metric" in check or check.get("type", "library") != "library":
        return check
    rule = check.get("rule")
    if not isinstance(rule, str):
        return check
    said = {k: v for k, v in check.items() if k != "rule" and k not in _ARGUMENTS}
    arguments = {**(check.get("arguments") or {}), **{k: check[k] for k in _ARGUMENTS if k in check}}
    if arguments:
        said["arguments"] = arguments
    if rule in _NONE_BY_DEFAULT and not any(k.startswith(("mustBe", "mustNot")) for k in check):
        said["mustBe"] = 0
    return {"metric": _METRICS.get(rule, rule), **said}
