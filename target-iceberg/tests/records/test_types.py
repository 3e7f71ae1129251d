"""The one table of types: every vocabulary leads to the same column and back."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_iceberg.load_plan import Column
from target_iceberg.table.iceberg_schema import column_of, iceberg_schema
from target_iceberg.types import (
    TABLE,
    WORDS,
    UnknownTypeError,
    arrow_type,
    column_from_contract_type,
    column_from_json_schema,
    columns_from_json_schema,
    contract_words,
    json_schema_of,
)

JSON = {"type": "string", "encoding": "json"}
FROM_JSON_SCHEMA: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "integer"}, {"type": "long"}),
    ({"type": ["null", "integer"]}, {"type": "long"}),
    ({"type": "number"}, {"type": "double"}),
    ({"type": ["integer", "number", "null"]}, {"type": "double"}),
    ({"type": "number", "multipleOf": 0.01}, {"type": "decimal(38,2)"}),
    ({"type": "number", "multipleOf": 1e-10}, {"type": "decimal(38,10)"}),
    ({"type": "number", "multipleOf": 1}, {"type": "decimal(38,0)"}),
    ({"type": "number", "multipleOf": 1e-300}, {"type": "double"}),
    ({"type": "boolean"}, {"type": "boolean"}),
    ({"type": "string"}, {"type": "string"}),
    ({"type": "string", "format": "date"}, {"type": "date"}),
    ({"type": "string", "format": "date-time"}, {"type": "timestamptz"}),
    ({"type": "string", "format": "time"}, {"type": "time"}),
    ({"type": "string", "format": "uuid"}, {"type": "uuid"}),
    ({"type": "string", "format": "email"}, {"type": "string"}),
    ({"type": "string", "format": "decimal", "precision": 18, "scale": 2}, {"type": "decimal(18,2)"}),
    ({"type": "string", "format": "singer.decimal"}, {"type": "string"}),
    ({"type": "string", "contentEncoding": "base64"}, {"type": "binary", "encoding": "base64"}),
    ({"type": "object"}, JSON),
    ({"type": "array"}, JSON),
    ({"type": "array", "items": {}}, JSON),
    ({}, JSON),
    ({"type": ["string", "integer"]}, JSON),
    ({"enum": ["a", "b"]}, {"type": "string"}),
    ({"enum": ["a", 1]}, JSON),
    ({"type": "null"}, JSON),
    ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, {"type": "date"}),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, {"type": "double"}),
    ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string", "null"]}]}, {"type": "string"}),
    ({"anyOf": [{"type": "string"}, {"type": "object"}]}, JSON),
    ({"allOf": [{"type": "string"}, {"format": "uuid"}]}, {"type": "uuid"}),
    ({"type": "string", "x-dativo-type": "timestamp"}, {"type": "timestamp"}),
    ({"type": "integer", "x-dativo-type": "decimal(9, 0)"}, {"type": "decimal(9,0)"}),
]


@pytest.mark.parametrize(("schema", "expected"), FROM_JSON_SCHEMA, ids=json.dumps)
def test_a_json_schema_leads_to_a_column(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert column_from_json_schema("c", schema) == Column(name="c", **expected)


def test_nested_schemas_lead_to_nested_columns() -> None:
    schema = {
        "properties": {
            "o": {"type": ["object", "null"], "properties": {"a": {"type": "integer"}}, "required": ["a"]},
            "l": {"type": "array", "items": {"type": ["number", "null"]}},
        },
        "required": ["o", "l"],
    }
    member = Column(name="a", type="long", required=True)
    assert columns_from_json_schema(schema) == (
        Column(name="o", type="struct", fields=(member,)),
        Column(name="l", type="list", required=True, fields=(Column(name="element", type="double"),)),
    )


def test_a_column_is_required_only_if_it_may_not_be_null() -> None:
    assert column_from_json_schema("c", {"type": "string"}, required=True).required
    assert not column_from_json_schema("c", {"type": ["string", "null"]}, required=True).required
    assert not column_from_json_schema("c", {"anyOf": [{"type": "string"}, {"type": "null"}]}, required=True).required
    assert not column_from_json_schema("c", {}, required=True).required


def columns(name: str, depth: int = 2) -> st.SearchStrategy[Column]:
    required, doc, classification = st.booleans(), st.none() | st.just("a doc"), st.none() | st.just("PII")

    def make(type_: str, encoding: Any = None, fields: tuple[Column, ...] = ()) -> st.SearchStrategy[Column]:
        return st.builds(
            lambda r, d, c: Column(
                name=name, type=type_, encoding=encoding, fields=fields, required=r, doc=d, classification=c
            ),
            required,
            doc,
            classification,
        )

    simple = st.sampled_from(sorted(WORDS - {"struct", "list", "map", "binary"})).flatmap(make)
    plain = st.one_of(
        simple,
        make("binary", "base64"),
        make("string", "json"),
        st.integers(1, 38).flatmap(lambda p: make(f"decimal({p},{p // 2})")),
    )
    if not depth:
        return plain
    inner = columns("value", depth - 1)
    key = Column(name="key", type="string", required=True)
    return st.one_of(
        plain,
        st.tuples(columns("a", depth - 1), columns("b", depth - 1)).flatmap(lambda f: make("struct", None, f)),
        columns("element", depth - 1).flatmap(lambda e: make("list", None, (e,))),
        inner.flatmap(lambda v: make("map", None, (key, v))),
    )


@given(columns("c"))
def test_a_column_written_as_json_schema_comes_back_as_it_was(column: Column) -> None:
    schema = json.loads(json.dumps(json_schema_of(column)))
    assert column_from_json_schema("c", schema, column.required) == column


@given(columns("c"))
def test_a_column_of_a_table_is_known_by_its_field(column: Column) -> None:
    schema = iceberg_schema([column])
    assert iceberg_schema([column_of(f) for f in schema.fields]) == schema


@given(columns("c"))
def test_every_column_has_an_arrow_type(column: Column) -> None:
    assert isinstance(arrow_type(column), pa.DataType)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("string", "string"),
        ("VARCHAR(20)", "string"),
        ("Integer", "long"),
        ("bigint", "long"),
        ("int", "int"),
        ("double", "double"),
        ("double precision", "double"),
        ("number", "double"),
        ("float", "float"),
        ("boolean", "boolean"),
        ("date", "date"),
        ("time", "time"),
        ("timestamp", "timestamptz"),
        ("timestamp(6) with time zone", "timestamptz"),
        ("timestamp_ntz", "timestamp"),
        ("TIMESTAMP(6) WITHOUT TIME ZONE", "timestamp"),
        ("decimal(18, 2)", "decimal(18,2)"),
        ("NUMERIC(5)", "decimal(5,0)"),
        ("uuid", "uuid"),
        ("bytea", "binary"),
    ],
)
def test_a_contract_word_leads_to_a_column(word: str, expected: str) -> None:
    column = column_from_contract_type(word, "c", required=True, doc="d", classification="PII")
    assert (column.type, column.required, column.doc, column.classification) == (expected, True, "d", "PII")
    assert column.encoding == ("base64" if expected == "binary" else None)


def test_objects_and_arrays_of_a_contract_keep_their_members_or_become_json_text() -> None:
    member = Column(name="item", type="long")
    assert column_from_contract_type("object", "c") == Column(name="c", type="string", encoding="json")
    assert column_from_contract_type("array", "c") == Column(name="c", type="string", encoding="json")
    assert column_from_contract_type("object", "c", fields=[member]).fields == (member,)
    assert column_from_contract_type("array", "c", fields=[member]).fields == (Column(name="element", type="long"),)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("strng", "did you mean 'string'"),
        ("xyzzy", "known are"),
        ("decimal", "give precision and scale"),
        ("decimal(39,2)", "between 1 and 38"),
        ("decimal(2,3)", "between 0 and the precision"),
    ],
)
def test_an_unknown_contract_word_is_an_error_that_says_what_to_write(word: str, says: str) -> None:
    with pytest.raises(UnknownTypeError, match=says):
        column_from_contract_type(word, "c")


def test_every_contract_word_of_the_table_leads_to_its_row() -> None:
    for row in TABLE:
        for word in row.contract_words:
            members = {"struct": 1, "list": 1, "map": 2}.get(row.word, 0)
            fields = [Column(name=f"m{i}", type="string") for i in range(members)]
            column = column_from_contract_type(word.replace("p,s", "9,2"), "c", fields=fields)
            assert column.type == row.word.replace("p,s", "9,2").removesuffix(" (json)")
    assert len(contract_words()) == len(TABLE)


def test_an_unknown_declared_type_is_an_error_that_names_the_property() -> None:
    with pytest.raises(UnknownTypeError, match="property c: x-dativo-type 'varchar'"):
        column_from_json_schema("c", {"x-dativo-type": "varchar"})
    with pytest.raises(UnknownTypeError, match="column c: no type 'varchar'"):
        arrow_type(Column(name="c", type="varchar"))


def test_types_load_neither_pyarrow_nor_pyiceberg() -> None:
    code = "import sys, target_iceberg.types; print(sorted({'pyarrow', 'pyiceberg', 'numpy', 'duckdb'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
