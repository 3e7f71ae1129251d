"""The type of a column as the catalog says it."""

from __future__ import annotations

from typing import Any

import pytest

from tap_csv.columns import columns_of
from tap_kit.columns import Column, type_of


@pytest.mark.parametrize(
    ("definition", "word"),
    [
        ({"type": "integer"}, "long"),
        ({"type": ["integer", "null"]}, "long"),
        ({"type": ["null", "number"]}, "double"),
        ({"type": ["integer", "number"]}, "double"),
        ({"type": "boolean"}, "boolean"),
        ({"type": "string"}, "string"),
        ({"type": ["string", "null"], "format": "date"}, "date"),
        ({"type": "string", "format": "date-time"}, "timestamptz"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "format": "time"}, "time"),
        ({"type": "string", "format": "uuid"}, "string"),
        ({"type": "string", "format": "decimal", "precision": 10, "scale": 2}, "decimal(10,2)"),
        ({"type": "number", "multipleOf": 0.01}, "decimal(38,2)"),
        ({"type": "number", "multipleOf": 1e-05}, "decimal(38,5)"),
        ({"type": "number", "multipleOf": 5}, "double"),
        ({"type": ["integer", "string"]}, "string"),
        ({"type": "object"}, "json"),
        ({}, "json"),
        ({"type": "object", "properties": {"a": {}}}, "nested"),
        ({"type": ["array", "null"], "items": {"type": "string"}}, "nested"),
        ({"type": "string", "x-dativo-type": "int"}, "long"),
        ({"type": "string", "format": "date-time", "x-dativo-type": "timestamp"}, "timestamp"),
        ({"type": "string", "x-dativo-type": "decimal(38, 9)"}, "decimal(38,9)"),
        ({"type": "string", "x-dativo-type": "decimal(39,9)"}, "string"),
        ({"type": "integer", "x-dativo-type": "uuid"}, "string"),
        ({"type": "array", "x-dativo-type": "list"}, "nested"),
        ({"type": "object", "x-dativo-type": "string", "x-dativo-encoding": "json"}, "json"),
    ],
)
def test_the_type_word_wins_over_type_and_format(definition: dict[str, Any], word: str) -> None:
    assert type_of(definition) == word


def test_a_column_must_not_be_null_when_required_a_key_or_without_null_in_its_type() -> None:
    properties = {name: {"type": ["string", "null"]} for name in ("a", "b", "c")} | {"d": {"type": "string"}}
    schema = {"properties": {**properties, "_sdc_source_file": {"type": "string"}}, "required": ["a"]}
    assert columns_of(schema, keys=["b"]) == (
        Column("a", "string", required=True),
        Column("b", "string", required=True),
        Column("c", "string", required=False),
        Column("d", "string", required=True),
    )
