"""What a source says of itself becomes a draft of a contract."""

from __future__ import annotations

from typing import Any

import pytest

from dativo.runtime.inference import always_there, classification_of, contract_of, likely_key

ENTRY: dict[str, Any] = {
    "tap_stream_id": "orders",
    "stream": "orders",
    "schema": {
        "required": ["created"],
        "properties": {
            "id": {"type": "integer"},
            "created": {"type": ["string", "null"], "format": "date-time"},
            "amount": {"type": ["number", "null"]},
            "lines": {
                "type": ["array", "null"],
                "items": {"type": "object", "properties": {"sku": {"type": "string"}}},
            },
            "_sdc_source_file": {"type": "string"},
        },
    },
    "metadata": [{"breadcrumb": [], "metadata": {"table-key-properties": ["id"]}}],
}


def test_types_keys_and_nullability_come_from_discovery() -> None:
    contract = contract_of(ENTRY, [], source="shop", domain=None)
    assert contract["schema"] == [
        {"name": "id", "type": "integer", "required": True, "primaryKey": True},
        {"name": "created", "type": "timestamp", "required": True},
        {"name": "amount", "type": "double"},
        {"name": "lines", "type": "array"},
    ]
    assert (contract["status"], contract["version"]) == ("draft", "1.0.0")


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("email", [], "PII"),
        ("customerEmail", [], "PII"),
        ("home_phone", [], "PII"),
        ("iban", [], "SENSITIVE"),
        ("contact_info", ["a@example.com", "b@example.org"], "PII"),
        ("x", ["a@example.com", "b@example.org", None, ""], "PII"),
        ("x", ["a@example.com", "plain", "words"], None),
        ("x", ["DE89 3704 0044 0532 0130 00"], "SENSITIVE"),
        ("emailed_at_count", [], None),
        ("status", ["paid"], None),
        ("x", [1, 2], None),
    ],
)
def test_classifications_are_suggested_by_name_and_by_value(name: str, values: list[Any], expected: str | None) -> None:
    assert classification_of(name, values) == expected


def test_a_key_is_guessed_from_name_and_sample_together() -> None:
    records = [{"order_id": n, "other_id": n} for n in range(30)]
    assert likely_key("orders", ["other_id", "order_id"], records) == {"order_id"}
    assert likely_key("orders", ["order_id"], records[:5]) == set()
    assert likely_key("orders", ["order_id"], [*records, {"order_id": 1}]) == set()


def test_columns_that_are_always_there_are_required() -> None:
    records = [{"a": 1, "b": None if n == 7 else 2} for n in range(30)]
    assert always_there(["a", "b"], records) == {"a"}
