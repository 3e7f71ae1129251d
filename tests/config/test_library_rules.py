"""ODCS 3.0's library rules mean what their metrics of 3.1 mean."""

from __future__ import annotations

from typing import Any

import pytest

from dativo.config.odcs.library_rules import with_metrics


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({"rule": "nullCheck"}, {"metric": "nullValues", "mustBe": 0}),
        ({"rule": "duplicateCount", "mustBeLessThan": 10}, {"metric": "duplicateValues", "mustBeLessThan": 10}),
        ({"rule": "validValues", "validValues": ["a"]}, {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["a"]}}),
        ({"type": "library", "rule": "rowCount", "mustBe": 3}, {"metric": "rowCount", "type": "library", "mustBe": 3}),
        ({"metric": "rowCount", "mustBe": 3}, {"metric": "rowCount", "mustBe": 3}),
        ({"type": "sql", "query": "select 1", "rule": "x"}, {"type": "sql", "query": "select 1", "rule": "x"}),
        ({"rule": "unheardOf"}, {"metric": "unheardOf"}),
    ],
)  # fmt: skip
def test_a_rule_becomes_its_metric(check: dict[str, Any], expected: dict[str, Any]) -> None:
    document = {"schema": [{"properties": [{"name": "c", "quality": [check]}]}]}
    assert with_metrics(document)["schema"][0]["properties"][0]["quality"] == [expected]
