"""Compiled checks against a row-by-row oracle that is written in plain Python."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, get_args

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import Column, RowRuleKind, Rule, StreamPlan
from target_iceberg.records.checks import CHECKS
from target_iceberg.records.columns import build
from target_iceberg.records.contract import CompiledContract
from target_iceberg.records.formats import FORMATS
from target_iceberg.types import arrow_schema

UTC = dt.timezone.utc
COLUMNS = (
    Column(name="n", type="long"),
    Column(name="i", type="int"),
    Column(name="x", type="double"),
    Column(name="d", type="decimal(10,2)"),
    Column(name="s", type="string"),
    Column(name="day", type="date"),
    Column(name="at", type="timestamptz"),
    Column(name="l", type="list", fields=(Column(name="element", type="long"),)),
    Column(name="b", type="boolean"),
    Column(name="o", type="struct", fields=(Column(name="inner", type="string"), Column(name="k", type="long"))),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "n": st.integers(-5, 5),
    "i": st.integers(-5, 5),
    "x": st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 0.5])),
    "d": st.decimals(-5, 5, places=2),
    "s": st.one_of(st.text("abé\n😀", max_size=5), st.sampled_from(["a@b.example", "new", "127.0.0.1"])),
    "day": st.dates(dt.date(2024, 1, 1), dt.date(2024, 1, 9)),
    "at": st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 3), timezones=st.just(UTC)),
    "l": st.lists(st.one_of(st.none(), st.integers(0, 3)), max_size=4),
    "b": st.booleans(),
    "o": st.fixed_dictionaries(
        {"inner": st.one_of(st.none(), st.text("ab", max_size=3)), "k": st.one_of(st.none(), st.integers(-3, 3))}
    ),
}
ROWS = st.lists(st.fixed_dictionaries({k: st.one_of(st.none(), v, v, v) for k, v in VALUES.items()}), max_size=30)

ORDERED = {
    "n": st.one_of(st.integers(-6, 6), st.floats(-6, 6), st.sampled_from(["1", "-2.5", 2**70, -(2**70)])),
    "i": st.one_of(st.integers(-6, 6), st.sampled_from([2**40, -(2**40), "0.5"])),
    "x": st.one_of(st.floats(-6, 6), st.sampled_from(["0.5", 0])),
    "d": st.one_of(st.integers(-6, 6), st.decimals(-6, 6, places=3).map(str)),
    "day": st.dates(dt.date(2024, 1, 1), dt.date(2024, 1, 9)).map(str),
    "at": st.datetimes(dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 3)).map(lambda d: d.isoformat() + "Z"),
    "o.k": st.integers(-3, 3),
}


def number(v: Any) -> Any:
    return (
        v
        if isinstance(v, float) and not math.isfinite(v)
        else Decimal(str(v))
        if not isinstance(v, float)
        else Decimal(v)
    )


def comparable(name: str, value: Any) -> Any:
    if name == "day":
        return value if isinstance(value, dt.date) else dt.date.fromisoformat(value)
    if name == "at":
        return value if isinstance(value, dt.datetime) else dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    if name == "x":
        return float(value)
    return number(value)


def field_of(row: dict[str, Any], name: str) -> Any:
    head, _, member = name.partition(".")
    return row[head] if not member else None if row[head] is None else row[head][member]


ORACLES = {
    "not_null": lambda name, v, arg: v is not None,
    "enum": lambda name, v, arg: v is None or v in arg,
    "pattern": lambda name, v, arg: v is None or re.search(arg, v) is not None,
    "minimum": lambda name, v, arg: v is None or comparable(name, v) >= comparable(name, arg),
    "maximum": lambda name, v, arg: v is None or comparable(name, v) <= comparable(name, arg),
    "exclusive_minimum": lambda name, v, arg: v is None or comparable(name, v) > comparable(name, arg),
    "exclusive_maximum": lambda name, v, arg: v is None or comparable(name, v) < comparable(name, arg),
    "multiple_of": lambda name, v, arg: v is None or (math.isfinite(v) and Fraction(str(v)) % Fraction(str(arg)) == 0),
    "unique_items": lambda name, v, arg: v is None or len(set(v)) == len(v),
    "min_length": lambda name, v, arg: v is None or len(v) >= arg,
    "max_length": lambda name, v, arg: v is None or len(v) <= arg,
    "format": lambda name, v, arg: v is None or re.fullmatch(r"[ab.]+@[ab]+\.[a-z]+", v) is not None,
}


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    kind = draw(st.sampled_from(sorted(ORACLES)))
    severity = draw(st.sampled_from(["error", "error", "warning"]))
    if kind == "not_null":
        column, argument = draw(st.sampled_from([*VALUES, "o.inner"])), None
    elif kind == "enum":
        column = draw(st.sampled_from(["n", "s", "b"]))
        argument = draw(st.lists(VALUES[column], min_size=1, max_size=3))
    elif kind == "pattern":
        column, argument = (
            draw(st.sampled_from(["s", "o.inner"])),
            draw(st.sampled_from(["a", "^b", "é", "a+b", "[^a]"])),
        )
    elif kind == "multiple_of":
        column, argument = (
            draw(st.sampled_from(["n", "i", "x", "d", "o.k"])),
            draw(st.sampled_from([1, 2, 3, "0.5", 0.25])),
        )
    elif kind == "unique_items":
        column, argument = "l", None
    elif kind in {"minimum", "maximum", "exclusive_minimum", "exclusive_maximum"}:
        column = draw(st.sampled_from(sorted(ORDERED)))
        argument = draw(ORDERED[column])
    elif kind == "format":
        column, argument = "s", "email"
    else:
        column, argument = draw(st.sampled_from(["s", "l", "o.inner"])), draw(st.integers(0, 5))
    return Rule(name=f"{kind}.{draw(st.uuids())}", kind=kind, columns=(column,), argument=argument, severity=severity)  # type: ignore[arg-type]


def plan(*rules_: Rule, columns: tuple[Column, ...] = COLUMNS, key: tuple[str, ...] = ()) -> StreamPlan:
    return StreamPlan(
        stream="s",
        namespace=("n",),
        table="t",
        columns=columns,
        rules=rules_,
        key=key,
        write_mode="append",
        fingerprint="x",
    )


def table_of(rows: list[dict[str, Any]], columns: tuple[Column, ...] = COLUMNS) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=arrow_schema(columns))


@settings(max_examples=400, deadline=None)
@given(ROWS, st.lists(rules(), max_size=5))
def test_compiled_rules_judge_as_the_row_by_row_oracle_does(rows: list[dict[str, Any]], rules_: list[Rule]) -> None:
    verdict = CompiledContract(plan(*rules_)).check(table_of(rows))
    broken = {
        r.name: [not ORACLES[r.kind](r.columns[0], field_of(row, r.columns[0]), r.argument) for row in rows]
        for r in rules_
    }
    for severity, counts in (("error", verdict.counts), ("warning", verdict.warnings)):
        assert counts == {r.name: sum(broken[r.name]) for r in rules_ if r.severity == severity and any(broken[r.name])}
    errors = [r for r in rules_ if r.severity == "error"]
    bad = [any(broken[r.name][i] for r in errors) for i in range(len(rows))]
    assert verdict.good.num_rows + verdict.n_rejected == len(rows)
    assert repr(verdict.good.to_pylist()) == repr(
        [r for r, b in zip(table_of(rows).to_pylist(), bad, strict=True) if not b]
    )
    first = [next(r.name for r in errors if broken[r.name][i]) for i in range(len(rows)) if bad[i]]
    assert sorted(r.rule for r in verdict.rejects) == sorted(first)


def one(kind: str, column: Column, argument: Any, value: Any) -> bool:
    """Whether a single value passes."""
    contract = CompiledContract(
        plan(Rule(name="r", kind=kind, columns=(column.name,), argument=argument), columns=(column,))
    )  # type: ignore[arg-type]
    return contract.check(pa.table([build([value], column)], schema=arrow_schema((column,)))).n_rejected == 0


TEXT, LONG = Column(name="c", type="string"), Column(name="c", type="long")
LIST = Column(name="c", type="list", fields=(Column(name="element", type="long"),))
PASSES_AND_FAILS = {
    "not_null": (TEXT, None, "x", None),
    "enum": (TEXT, ["new", "paid"], "new", "old"),
    "pattern": (TEXT, "^[A-Z]{3}$", "EUR", "EURO"),
    "minimum": (LONG, 3, 3, 2),
    "maximum": (LONG, 3, 3, 4),
    "exclusive_minimum": (LONG, 3, 4, 3),
    "exclusive_maximum": (LONG, 3, 2, 3),
    "multiple_of": (LONG, 3, -6, 7),
    "unique_items": (LIST, None, [1, 2], [1, 1]),
    "min_length": (TEXT, 2, "éé", "é"),
    "max_length": (TEXT, 2, "😀😀", "éab"),
    "format": (TEXT, "ipv4", "10.0.0.255", "10.0.0.256"),
}


@pytest.mark.parametrize("kind", sorted(CHECKS))
def test_each_check_passes_what_it_should_and_catches_what_it_should(kind: str) -> None:
    column, argument, good, bad = PASSES_AND_FAILS[kind]
    assert one(kind, column, argument, good), f"{kind} refuses a good value"
    assert not one(kind, column, argument, bad), f"{kind} lets a bad value pass"


def test_every_kind_of_row_rule_has_a_check() -> None:
    assert set(CHECKS) == set(PASSES_AND_FAILS) == set(get_args(RowRuleKind))


def test_rules_reach_members_and_elements_however_deep() -> None:
    item = Column(
        name="element",
        type="struct",
        fields=(
            Column(name="sku", type="string"),
            Column(name="tags", type="list", fields=(Column(name="element", type="string"),)),
        ),
    )
    column = Column(name="items", type="list", fields=(item,))
    rules_ = [
        Rule(name="sku", kind="min_length", columns=("items[].sku",), argument=2),
        Rule(name="tag", kind="enum", columns=("items[].tags[]",), argument=["a", "b"]),
    ]
    rows = [
        {"items": None},
        {"items": []},
        {"items": [{"sku": "ab", "tags": ["a", None]}, None, {"sku": None, "tags": None}]},
        {"items": [{"sku": "ab", "tags": []}, {"sku": "a", "tags": ["a"]}]},
        {"items": [{"sku": "ab", "tags": ["a", "c"]}]},
    ]
    verdict = CompiledContract(plan(*rules_, columns=(column,))).check(table_of(rows, (column,)))
    assert verdict.counts == {"sku": 1, "tag": 1}
    assert verdict.good.num_rows == 3
    sliced = table_of(rows, (column,)).slice(3)
    assert CompiledContract(plan(*rules_, columns=(column,))).check(sliced).counts == {"sku": 1, "tag": 1}


FORMAT_CASES = {
    "email": (
        ["a@b.example", "a.b+c@x-y.co.uk"],
        ["a", "a@b", "a@b..example", "a b@c.example", "a@b.example\n", "@b.example"],
    ),
    "uri": (["https://a.example/x?y#z", "urn:isbn:1", "mailto:a@b.example"], ["a", "//x", "http://a b", "1http://x"]),
    "url": (["http://a.example", "HTTPS://a/b?c=d"], ["ftp://a", "http://", "http:///x", "a.example"]),
    "uuid": (
        ["12345678-1234-1234-1234-1234567890ab"],
        ["12345678123412341234123456789012", "12345678-1234-1234-1234-1234567890ag"],
    ),
    "ipv4": (["0.0.0.0", "255.255.255.255"], ["256.0.0.1", "1.2.3", "1.2.3.4.5", "01.2.3.4"]),
    "ipv6": (
        ["::", "::1", "2001:db8::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4", "1::"],
        ["1", ":::", "1:2:3:4:5:6:7", "1::2::3", "g::", "1:2:3:4:5:6:7:8:9"],
    ),
    "hostname": (["a", "a-b.example", "x1"], ["-a", "a-", "a..b", "a_b", "x" * 64]),
    "date": (
        ["2024-02-29", "2000-02-29", "2023-12-31"],
        ["2023-02-29", "1900-02-29", "2023-13-01", "2023-04-31", "2023-1-1"],
    ),
    "date-time": (
        ["2024-01-01T00:00:00Z", "2024-01-01 23:59:59.5+02:00", "2024-01-01T00:00:00"],
        ["2024-01-01", "2024-01-01T24:00:00Z", "2024-01-01T00:00Z"],
    ),
    "time": (["23:59:59", "00:00:00Z", "10:00:00.123+01:00"], ["24:00:00", "10:00", "10:00:60"]),
}


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_each_format_tells_good_from_bad(name: str) -> None:
    good, bad = FORMAT_CASES[name]
    assert [v for v in good if not one("format", TEXT, name, v)] == []
    assert [v for v in bad if one("format", TEXT, name, v)] == []


@pytest.mark.parametrize("kind", sorted(set(CHECKS) - {"not_null"}))
def test_null_passes_every_check_but_not_null(kind: str) -> None:
    column, argument, _, _ = PASSES_AND_FAILS[kind]
    assert one(kind, column, argument, None)


def test_uuid_and_date_columns_compare_typed_values() -> None:
    uuid_ = Column(name="c", type="uuid")
    assert one("enum", uuid_, ["00000000-0000-0000-0000-000000000001"], b"\0" * 15 + b"\1")
    assert not one("enum", uuid_, ["00000000-0000-0000-0000-000000000001"], b"\0" * 16)
    assert one("format", Column(name="c", type="date"), "date", 3)


@pytest.mark.parametrize(
    ("kind", "column", "argument", "says"),
    [
        ("pattern", "s", "(?=a)", "not a regular expression of RE2"),
        ("pattern", "s", 3, "must be a regular expression"),
        ("pattern", "n", "a", "needs text, the column is of type long"),
        ("minimum", "s", 1, "no minimum"),
        ("minimum", "n", "x", "'x' is not a number"),
        ("minimum", "n", True, "is not a number"),
        ("maximum", "day", "soon", "not a value of type date"),
        ("enum", "n", ["a"], "'a' is not a value of type long"),
        ("enum", "n", 3, "list of values"),
        ("max_length", "n", 3, "no length"),
        ("max_length", "s", -1, "not a length"),
        ("format", "s", "iban", "no format 'iban'; known are"),
        ("not_null", "zz", None, "no column 'zz'"),
        ("not_null", "o.zz", None, "no column 'o.zz'"),
    ],
)
def test_a_rule_that_cannot_be_executed_is_an_error_that_names_it(
    kind: Any, column: str, argument: Any, says: str
) -> None:
    with pytest.raises(TargetError, match=f"my.rule: .*{re.escape(says)}") as e:
        CompiledContract(plan(Rule(name="my.rule", kind=kind, columns=(column,), argument=argument)))
    assert e.value.failure_class == "configuration"


def test_all_rules_that_cannot_be_executed_are_named_at_once() -> None:
    with pytest.raises(TargetError, match=r"one: .*two: "):
        CompiledContract(
            plan(Rule(name="one", kind="not_null", columns=("q",)), Rule(name="two", kind="not_null", columns=("r",)))
        )


def test_key_and_required_columns_must_hold_a_value() -> None:
    columns = (Column(name="id", type="long"), Column(name="r", type="string", required=True))
    table = table_of(
        [{"id": 1, "r": "x"}, {"id": None, "r": "x"}, {"id": 2, "r": None}, {"id": None, "r": None}], columns
    )
    verdict = CompiledContract(plan(columns=columns, key=("id",))).check(table)
    assert verdict.counts == {"s.id.not_null": 2, "s.r.not_null": 2}
    assert verdict.n_rejected == 3
    assert [r.rule for r in verdict.rejects] == ["s.id.not_null", "s.id.not_null", "s.r.not_null"]


def test_a_declared_not_null_takes_the_place_of_the_implied_one_only_if_it_is_an_error() -> None:
    columns = (Column(name="id", type="long", required=True),)
    table = table_of([{"id": None}], columns)
    own = Rule(name="own", kind="not_null", columns=("id",))
    assert CompiledContract(plan(own, columns=columns)).check(table).counts == {"own": 1}
    warning = msgspec.structs.replace(own, severity="warning")
    verdict = CompiledContract(plan(warning, columns=columns)).check(table)
    assert (verdict.counts, verdict.warnings) == ({"s.id.not_null": 1}, {"own": 1})


def test_required_members_of_nested_columns_must_hold_a_value() -> None:
    inner = Column(name="a", type="long", required=True)
    columns = (
        Column(name="o", type="struct", fields=(inner, Column(name="b", type="long"))),
        Column(name="l", type="list", fields=(Column(name="element", type="struct", required=True, fields=(inner,)),)),
        Column(
            name="m",
            type="map",
            fields=(Column(name="key", type="string", required=True), Column(name="value", type="long", required=True)),
        ),
    )
    good = [
        {"o": None, "l": None, "m": None},
        {"o": {"a": 1, "b": None}, "l": [{"a": 1}], "m": [("k", 1)]},
        {"o": None, "l": [], "m": []},
    ]
    bad = [
        {"o": {"a": None, "b": 1}, "l": None, "m": None},
        {"o": None, "l": [{"a": 1}, None], "m": None},
        {"o": None, "l": [{"a": None}], "m": None},
        {"o": None, "l": None, "m": [("k", None)]},
    ]
    rows = [x for pair in zip(bad, [*good, good[0]], strict=True) for x in pair]
    verdict = CompiledContract(plan(columns=columns)).check(table_of(rows, columns))
    assert verdict.counts == {"s.o.member_not_null": 1, "s.l.member_not_null": 2, "s.m.member_not_null": 1}
    assert verdict.good.to_pylist() == [*good, good[0]]
    sliced = CompiledContract(plan(columns=columns)).check(table_of(rows, columns).slice(2, 4))
    assert sliced.counts == {"s.l.member_not_null": 2}


def test_a_rule_of_two_columns_is_broken_once_by_a_row() -> None:
    rule = Rule(name="both", kind="not_null", columns=("n", "s"))
    rows = [dict.fromkeys(VALUES), {**dict.fromkeys(VALUES), "n": 1}, {**dict.fromkeys(VALUES), "n": 1, "s": "x"}]
    assert CompiledContract(plan(rule)).check(table_of(rows)).counts == {"both": 2}


def test_rejects_are_listed_up_to_the_maximum_of_a_run_and_counted_beyond() -> None:
    contract = CompiledContract(plan(Rule(name="r", kind="minimum", columns=("n",), argument=0)), max_listed=5)
    table = table_of([{**dict.fromkeys(VALUES), "n": -1}] * 4)
    verdicts = [contract.check(table) for _ in range(3)]
    assert [len(v.rejects) for v in verdicts] == [4, 1, 0]
    assert [v.n_rejected for v in verdicts] == [4, 4, 4]
    assert [v.counts["r"] for v in verdicts] == [4, 4, 4]


def test_a_reject_carries_record_value_reason_and_origin_without_what_nobody_may_see() -> None:
    columns = (
        Column(name="id", type="long"),
        Column(name="email", type="string", classification="PII"),
        Column(name="doc", type="string", encoding="json"),
        Column(name="address", type="struct", fields=(Column(name="street", type="string", classification="PII"),)),
        Column(name="_sdc_source_file", type="string"),
        Column(name="_sdc_source_lineno", type="long"),
    )
    rules_ = (
        Rule(name="s.email.format", kind="format", columns=("email",), argument="email"),
        Rule(name="s.id.minimum", kind="minimum", columns=("id",), argument=0, description="ids count up"),
    )
    rows = [
        {
            "id": 1,
            "email": "hidden",
            "doc": '{"a":[1]}',
            "address": {"street": "hidden"},
            "_sdc_source_file": "f.csv",
            "_sdc_source_lineno": 7,
        },
        {
            "id": -1,
            "email": "x@y.example",
            "doc": None,
            "address": None,
            "_sdc_source_file": "f.csv",
            "_sdc_source_lineno": 8,
        },
    ]
    first, second = CompiledContract(plan(*rules_, columns=columns)).check(table_of(rows, columns)).rejects
    assert "hidden" not in repr(first)
    assert json.loads(first.record) == {
        "id": 1, "email": "***", "doc": {"a": [1]}, "address": "***", "_sdc_source_file": "f.csv", "_sdc_source_lineno": 7,
    }  # fmt: skip
    assert (first.value, first.column, first.kind, first.source_file, first.source_record) == (
        "***",
        "email",
        "format",
        "f.csv",
        7,
    )
    assert (second.value, second.message) == ("-1", "ids count up (less than 0)")


def test_an_empty_table_passes() -> None:
    verdict = CompiledContract(plan(Rule(name="r", kind="minimum", columns=("n",), argument=0))).check(table_of([]))
    assert (verdict.good.num_rows, verdict.n_rejected, verdict.counts) == (0, 0, {})
