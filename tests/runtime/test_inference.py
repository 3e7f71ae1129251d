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


def test_nobody_knows_what_is_never_null_in_a_query() -> None:
    """That none of the rows of the moment is NULL says nothing of those to come."""
    schema = {"type": "object", "properties": {"id": {"type": ["integer", "null"]}, "n": {"type": ["integer", "null"]}}}
    records = [{"id": n, "n": n} for n in range(1000)]
    entry = {"stream": "q", "tap_stream_id": "q", "schema": schema}
    of_a_file = contract_of(entry, records, source="shop", domain=None)["schema"]
    assert of_a_file[1] == {"name": "n", "type": "integer", "required": True}
    of_a_query = contract_of(
        {**entry, "schema": {**schema, "x-dativo-query": True}}, records, source="shop", domain=None
    )
    assert of_a_query["schema"] == [{"name": "id", "type": "integer"}, {"name": "n", "type": "integer"}]


def test_a_key_with_a_float_in_it_is_none() -> None:
    """A contract with it would be refused, and a part of a key is no key."""
    schema = {
        "type": "object",
        "properties": {"k": {"type": "number"}, "n": {"type": "integer"}},
        "required": ["k", "n"],
    }
    entry = {"stream": "t", "tap_stream_id": "t", "key_properties": ["k", "n"], "schema": schema}
    assert contract_of({**entry, "schema": {**schema, "x-dativo-source": "a.t"}}, [], source="shop", domain=None)[
        "schema"
    ] == [
        {"name": "k", "type": "double", "required": True},
        {"name": "n", "type": "integer", "required": True},
    ]


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
