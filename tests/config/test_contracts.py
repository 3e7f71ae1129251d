"""Three spellings, one canonical document; and rules that are read exactly or refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from dativo.config.contracts import Contracts
from dativo.config.diagnostics import Finding
from dativo.config.model.contract import Contract
from dativo.config.odcs import official
from dativo.config.odcs.reading import digest
from dativo.config.project import Project
from target_iceberg.load_plan import StreamPlan
from target_iceberg.records.contract import CompiledContract

MakeProject = Callable[[dict[str, str]], Project]

COLUMNS: list[dict[str, Any]] = [
    {"name": "id", "type": "bigint", "required": True, "primaryKey": True},
    {"name": "price", "type": "decimal(10,2)", "minimum": 0},
    {"name": "mail", "type": "string", "format": "email", "classification": "PII"},
    {"name": "at", "type": "timestamp", "required": True},
]
NESTED = {
    "asset": {
        "name": "orders",
        "source_type": "csv",
        "object": "orders",
        "version": "1.0",
        "schema": COLUMNS,
        "governance": {"owner": "ada"},
        "compliance": {"retention_days": 30},
        "target": {"partitioning": ["day(at)"], "mode": "merge"},
    }
}
FLAT = {
    "$schema": "schemas/odcs/dativo-odcs-3.0.2-extended.schema.json",
    "apiVersion": "v3.0.2",
    "kind": "DataContract",
    "id": "x",
    "name": "orders",
    "version": "1.0",
    "source_type": "csv",
    "schema": COLUMNS,
    "team": {"owner": "ada"},
    "compliance": {"retention_days": 30},
    "target": {"partitioning": ["day(at)"], "mode": "merge"},
}
ODCS = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "x",
    "version": "1.0",
    "status": "active",
    "schema": [
        {
            "name": "orders",
            "logicalType": "object",
            "properties": [
                {
                    "name": "id",
                    "logicalType": "integer",
                    "physicalType": "bigint",
                    "required": True,
                    "primaryKey": True,
                },
                {
                    "name": "price",
                    "logicalType": "number",
                    "physicalType": "decimal(10,2)",
                    "logicalTypeOptions": {"minimum": 0},
                },
                {
                    "name": "mail",
                    "logicalType": "string",
                    "logicalTypeOptions": {"format": "email"},
                    "classification": "PII",
                },
                {"name": "at", "logicalType": "timestamp", "required": True},
            ],
        }
    ],
    "team": {"members": [{"username": "ada", "role": "owner"}]},
    "slaProperties": [{"property": "retention", "value": 30, "unit": "d"}],
    "customProperties": [
        {"property": "dativo.sourceType", "value": "csv"},
        {"property": "dativo.target", "value": {"partitioning": ["day(at)"], "mode": "merge"}},
    ],
}


@pytest.fixture
def read(project: MakeProject) -> Callable[[dict[str, Any]], tuple[list[Contract], list[Finding]]]:
    def reading(data: dict[str, Any]) -> tuple[list[Contract], list[Finding]]:
        made = project({"assets/csv/v1.0/x.yaml": yaml.safe_dump(data, sort_keys=False)})
        findings: list[Finding] = []
        return Contracts(made).read(made.root / "assets/csv/v1.0/x.yaml", findings), findings

    return reading


Read = Callable[[dict[str, Any]], tuple[list[Contract], list[Finding]]]


def with_column(**keys: Any) -> dict[str, Any]:
    return {"name": "t", "version": "1.0", "schema": [{"name": "c", "type": "string", **keys}]}


@pytest.mark.parametrize("data", [NESTED, FLAT, ODCS], ids=["nested", "flat", "odcs"])
def test_every_spelling_says_the_same(read: Read, data: dict[str, Any]) -> None:
    contracts, findings = read(data)
    assert findings == []
    found = contracts[0]
    assert [(c.name, c.type, c.required) for c in found.columns] == [
        ("id", "long", True),
        ("price", "decimal(10,2)", False),
        ("mail", "string", False),
        ("at", "timestamptz", True),
    ]
    assert (found.name, found.object, found.version, found.source_type) == ("orders", "orders", "1.0", "csv")
    assert found.key == ("id",)
    assert [(r.name, r.argument) for r in found.rules] == [("orders.price.minimum", 0), ("orders.mail.format", "email")]
    assert found.classification == {"mail": "PII"}
    assert found.retention_days == 30
    assert found.governance["owner"] == "ada"
    assert (found.target.partitioning, found.target.mode) == (("day(at)",), "merge")


@pytest.mark.parametrize("data", [NESTED, FLAT, ODCS], ids=["nested", "flat", "odcs"])
def test_the_canonical_document_is_valid_odcs_and_reads_back_as_itself(read: Read, data: dict[str, Any]) -> None:
    first = read(data)[0][0]
    assert list(official.problems(first.canonical)) == []
    again = read(first.canonical)[0][0]
    assert (again.columns, again.rules, again.key, again.target) == (
        first.columns,
        first.rules,
        first.key,
        first.target,
    )
    assert (again.digest, again.retention_days, again.governance) == (
        first.digest,
        first.retention_days,
        first.governance,
    )


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": {"c": 2, "d": 3}}) == digest({"b": {"d": 3, "c": 2}, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})


def test_checking_in_parts_agrees_with_checking_the_whole() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    whole = jsonschema.Draft201909Validator(official.schema())
    for path, value in [
        (("schema", 0, "properties", 0, "logicalType"), "int"),
        (("schema", 0, "properties", 0, "colour"), "red"),
        (("schema", 0, "properties", 1, "logicalTypeOptions", "minLength"), 1),
        (("schema", 0, "colour"), "red"),
        (("schema", 0, "name"), 5),
        (("kind",), "x"),
        (("team",), "ada"),
        (("id",), "y"),
    ]:
        document = json.loads(json.dumps(ODCS))
        place = document
        for part in path[:-1]:
            place = place[part]
        place[path[-1]] = value
        assert (list(official.problems(document)) == []) == whole.is_valid(document), path


@pytest.mark.parametrize(
    ("keys", "rules"),
    [
        ({"unique": True}, [("t.c.unique", "unique", None)]),
        ({"enum": ["a", "b"]}, [("t.c.enum", "enum", ["a", "b"])]),
        ({"pattern": "^a"}, [("t.c.pattern", "pattern", "^a")]),
        ({"pattern": "\\p{L}+"}, [("t.c.pattern", "pattern", "\\p{L}+")]),
        ({"minLength": 1, "max_length": 3}, [("t.c.min_length", "min_length", 1), ("t.c.max_length", "max_length", 3)]),
        ({"type": "integer", "min": 1, "maximum": 9}, [("t.c.minimum", "minimum", 1), ("t.c.maximum", "maximum", 9)]),
        ({"type": "integer", "exclusiveMinimum": 0}, [("t.c.exclusive_minimum", "exclusive_minimum", 0)]),
        ({"type": "decimal(5,2)", "exclusiveMaximum": 10}, [("t.c.exclusive_maximum", "exclusive_maximum", 10)]),
        ({"type": "double", "exclusiveMinimum": 0}, [("t.c.exclusive_minimum", "exclusive_minimum", 0)]),
        (
            {"type": "date", "exclusiveMinimum": "2024-02-28"},
            [("t.c.exclusive_minimum", "exclusive_minimum", "2024-02-28")],
        ),
        ({"type": "timestamp", "minimum": "2024-01-01"}, [("t.c.minimum", "minimum", "2024-01-01")]),
        ({"quality": [{"metric": "nullValues", "mustBe": 0}]}, [("t.c.not_null", "not_null", None)]),
        (
            {"quality": [{"metric": "duplicateValues", "mustBeLessThan": 5}]},
            [("t.c.unique", "unique", {"max": 4, "unit": "rows"})],
        ),
        (
            {"quality": [{"metric": "duplicateValues", "mustBeLessOrEqualTo": 1.5, "unit": "percent"}]},
            [("t.c.unique", "unique", {"max": 1.5, "unit": "percent"})],
        ),
        (
            {
                "quality": [
                    {"metric": "invalidValues", "mustBe": 0, "arguments": {"validValues": ["x"], "pattern": "^x"}}
                ]
            },
            [("t.c.enum", "enum", ["x"]), ("t.c.pattern", "pattern", "^x")],
        ),
        (
            {"quality": [{"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [None, ""]}}]},
            [("t.c.not_null", "not_null", None), ("t.c.min_length", "min_length", 1)],
        ),
        ({"quality": [{"type": "text", "description": "read me"}]}, []),
    ],
)
def test_a_constraint_becomes_its_rule(read: Read, keys: dict[str, Any], rules: list[tuple[str, str, Any]]) -> None:
    contracts, findings = read(with_column(**keys))
    assert findings == []
    assert [(r.name, r.kind, r.argument) for r in contracts[0].rules] == rules


def test_rules_on_members_and_elements_become_rules_of_their_paths(read: Read) -> None:
    order = {"name": "sku", "type": "string", "pattern": "^[A-Z]"}
    contracts, findings = read(
        with_column(
            type="object",
            properties=[
                {"name": "city", "type": "string", "enum": ["Ulm"], "maxLength": 9},
                {"name": "tags", "type": "array", "items": {"type": "string", "format": "email"}},
                {"name": "orders", "type": "array", "items": {"type": "object", "properties": [order]}},
                {"name": "deep", "type": "object", "properties": [{"name": "n", "type": "integer", "minimum": 1}]},
            ],
        )
    )
    assert findings == []
    assert [(r.name, r.columns, r.argument) for r in contracts[0].rules] == [
        ("t.c.city.enum", ("c.city",), ["Ulm"]),
        ("t.c.city.max_length", ("c.city",), 9),
        ("t.c.tags[].format", ("c.tags[]",), "email"),
        ("t.c.orders[].sku.pattern", ("c.orders[].sku",), "^[A-Z]"),
        ("t.c.deep.n.minimum", ("c.deep.n",), 1),
    ]
    stream = StreamPlan(
        stream="t",
        namespace=("n",),
        table="t",
        columns=contracts[0].columns,
        write_mode="append",
        fingerprint="x",
        rules=contracts[0].rules,
    )
    assert len(CompiledContract(stream).rules) == 5


def test_bounds_that_leave_no_value_are_an_error(read: Read) -> None:
    for keys in ({"minimum": 5, "exclusiveMaximum": 5}, {"exclusiveMinimum": 6, "maximum": 5}):
        findings = read(with_column(type="integer", **keys))[1]
        assert [f.code for f in findings] == ["DTV046"]
        assert "no value is above" in findings[0].problem
    assert read(with_column(type="integer", exclusiveMinimum=4, maximum=5))[1] == []
    day = {"type": "date", "exclusiveMinimum": "2024-02-28", "maximum": "2024-02-28"}
    assert [f.code for f in read(with_column(**day))[1]] == ["DTV046"]


def test_severity_name_and_description_of_a_check_are_kept(read: Read) -> None:
    check = {"metric": "nullValues", "mustBe": 0, "severity": "warning", "name": "Has a value", "description": "why"}
    rule = read(with_column(quality=[check]))[0][0].rules[0]
    assert (rule.name, rule.severity, rule.description) == ("t.c.has_a_value", "warning", "why")


@pytest.mark.parametrize(
    ("check", "argument"),
    [
        ({"mustBe": 5}, {"min": 5, "max": 5}),
        ({"mustBeGreaterThan": 5}, {"min": 6, "max": None}),
        ({"mustBeLessThan": 5}, {"min": None, "max": 4}),
        ({"mustBeBetween": [2, 5]}, {"min": 2, "max": 5}),
    ],
)
def test_row_counts_become_limits(read: Read, check: dict[str, Any], argument: dict[str, Any]) -> None:
    contracts, findings = read({**with_column(), "quality": [{"metric": "rowCount", **check}]})
    assert findings == []
    assert contracts[0].rules[0].argument == argument


@pytest.mark.parametrize(
    "keys",
    [
        {"quality": [{"type": "custom", "engine": "soda", "implementation": "x"}]},
        {"quality": [{"metric": "invalidValues", "mustBe": 0}]},
        {"pattern": "a(?=b)"},
        {"pattern": "(a)\\1"},
        {"format": "swift-code"},
        {"type": "object", "properties": [{"name": "m", "type": "string", "unique": True}]},
        {"type": "object", "properties": [{"name": "m.n", "type": "string", "enum": ["x"]}]},
        {"type": "array", "items": {"type": "string", "quality": [{"metric": "nullValues", "mustBe": 0}]}},
    ],
)
def test_a_rule_that_cannot_be_checked_is_an_error_and_never_skipped(read: Read, keys: dict[str, Any]) -> None:
    contracts, findings = read(with_column(**keys))
    assert contracts == []
    assert {f.code for f in findings} == {"DTV045"}


@pytest.mark.parametrize(
    ("check", "rule"),
    [
        (
            {"metric": "nullValues", "mustBeLessThan": 5},
            ("metric", {"metric": "nullValues", "limit": {"mustBeLessThan": 5}}),
        ),
        (
            {
                "metric": "invalidValues",
                "arguments": {"validValues": ["x"]},
                "mustBeLessOrEqualTo": 1,
                "unit": "percent",
            },
            (
                "metric",
                {
                    "metric": "invalidValues",
                    "arguments": {"validValues": ["x"]},
                    "unit": "percent",
                    "limit": {"mustBeLessOrEqualTo": 1},
                },
            ),
        ),
        (
            {"metric": "duplicateValues", "mustNotBe": 0},
            ("metric", {"metric": "duplicateValues", "limit": {"mustNotBe": 0}}),
        ),
        (
            {"metric": "missingValues", "mustBeBetween": [1, 5], "arguments": {"missingValues": ["N/A", None]}},
            (
                "metric",
                {
                    "metric": "missingValues",
                    "arguments": {"missingValues": ["N/A", None]},
                    "limit": {"mustBeBetween": [1, 5]},
                },
            ),
        ),
        (
            {
                "type": "sql",
                "query": "SELECT count(*) FROM ${object} WHERE ${property} = 'x'",
                "mustNotBeBetween": [3, 4],
            },
            (
                "sql",
                {
                    "query": 'SELECT count(*) FROM "t" WHERE "c" = \'x\'',
                    "table": "t",
                    "limit": {"mustNotBeBetween": [3, 4]},
                },
            ),
        ),
    ],
)
def test_metrics_with_any_operator_in_both_spellings(read: Read, check: dict[str, Any], rule: Any) -> None:
    contracts, findings = read(with_column(quality=[check]))
    assert findings == []
    assert [(r.kind, r.argument) for r in contracts[0].rules] == [rule]


@pytest.mark.parametrize(
    ("check", "problem"),
    [
        ({"metric": "nullValues", "mustBe": "none"}, "needs a number"),
        ({"metric": "nullValues", "mustBeBetween": [5, 1]}, "the smaller one first"),
        ({"metric": "nullValues", "mustBe": 1, "unit": "per mille"}, "unknown unit"),
        ({"type": "sql", "query": "SELECT nothing FROM ${object}", "mustBe": 0}, "nothing"),
        ({"type": "sql", "query": "SELECT 1 FROM elsewhere", "mustBe": 0}, "elsewhere"),
        ({"type": "sql", "query": "SELECT 1, 2", "mustBe": 0}, "one column"),
        ({"type": "sql", "query": "SELECT 1; SELECT 2", "mustBe": 0}, "one SELECT"),
        ({"type": "sql", "query": "DROP TABLE ${object}", "mustBe": 0}, "one SELECT"),
        ({"type": "sql", "query": "SELECT count(*) FROM ${objekt}", "mustBe": 0}, "placeholder"),
        ({"type": "sql", "query": "SELECT count(*) FROM read_csv('/etc/passwd')", "mustBe": 0}, "disabled"),
    ],
)
def test_a_check_that_makes_no_sense_is_found_with_its_reason(read: Read, check: dict[str, Any], problem: str) -> None:
    contracts, findings = read(with_column(quality=[check]))
    assert contracts == []
    assert {f.code for f in findings} == {"DTV046"}
    assert problem in findings[0].problem


def test_freshness_and_sets_of_unique_columns_come_from_data_quality(read: Read) -> None:
    quality = {"freshness": {"column": "at", "max_age_hours": 2}, "unique": [["id", "mail"]], "row_count": {"min": 1}}
    rules = {r.kind: r for r in read({**FLAT, "data_quality": quality})[0][0].rules}
    assert rules["freshness"].argument == {"max_age_s": 7200}
    assert rules["unique"].columns == ("id", "mail")
    assert rules["row_count"].argument == {"min": 1, "max": None}


def test_an_odcs_document_of_several_objects_is_several_contracts(read: Read) -> None:
    two = {
        **ODCS,
        "schema": [ODCS["schema"][0], {**ODCS["schema"][0], "name": "returns", "physicalName": "order_returns"}],
    }  # type: ignore[index,dict-item]
    contracts, findings = read(two)
    assert findings == []
    assert [(c.name, c.object) for c in contracts] == [("orders", "orders"), ("order_returns", "returns")]
    assert contracts[0].digest != contracts[1].digest


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ({"logicalType": "date", "physicalType": "timestamp"}, "timestamptz"),
        ({"logicalType": "number", "physicalType": "NUMERIC(8, 3)"}, "decimal(8,3)"),
        ({"logicalType": "number"}, "double"),
        ({"logicalType": "string", "physicalType": "VARCHAR2(20)"}, "string"),
        ({"logicalType": "string", "physicalType": "uuid"}, "uuid"),
        ({"logicalType": "timestamp", "logicalTypeOptions": {"timezone": False}}, "timestamp"),
        ({"logicalType": "integer", "logicalTypeOptions": {"format": "i32"}}, "int"),
        ({"logicalType": "array", "items": {"logicalType": "integer"}}, "list"),
        ({"logicalType": "object"}, "string"),
    ],
)
def test_odcs_types_become_columns(read: Read, column: dict[str, Any], expected: str) -> None:
    data = {**ODCS, "schema": [{"name": "o", "properties": [{"name": "c", **column}]}], "customProperties": []}
    contracts, findings = read(data)
    assert findings == []
    assert contracts[0].columns[0].type == expected


@pytest.mark.parametrize(
    ("zone", "naive"), [("Europe/Berlin", "Europe/Berlin"), ("Etc/UTC", None), ("reject", "reject")]
)
def test_the_contract_says_where_a_timestamp_without_offset_is(read: Read, zone: str, naive: str | None) -> None:
    odcs = {
        "apiVersion": "v3.1.0", "kind": "DataContract", "id": "x", "version": "1.0.0", "status": "active",
        "schema": [{"name": "t", "properties": [{"name": "at", "logicalType": "timestamp", "logicalTypeOptions": {"defaultTimezone": zone}}]}],
    }  # fmt: skip
    contracts, findings = read(odcs)
    assert findings == []
    assert contracts[0].columns[0].naive == naive
    odcs["schema"][0]["properties"][0]["logicalTypeOptions"]["defaultTimezone"] = "Europe/Berln"
    assert [f.code for f in read(odcs)[1]] == ["DTV043"]
