"""Every type of MySQL, at its edges: exact, or a text that the target rejects; by both lanes, alone and in groups."""

from __future__ import annotations

import importlib.util
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_kit.columns import TYPE_KEYWORD
from tap_kit.errors import TapError
from tap_kit.testing import check_value

if TYPE_CHECKING:
    from collections.abc import Callable

_spec = importlib.util.spec_from_file_location("torture_mysql", Path(__file__).parent / "torture.py")
assert _spec
assert _spec.loader
torture = sys.modules["torture_mysql"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(torture)


def test_values_arrive_exactly(database: Any, sync: Callable[..., Any], lane: str) -> None:
    """Each column with the key alone, so that a value without room in its type does not hide the others."""
    database.run(*torture.statements("torture"))
    for case in torture.CASES:
        sql = f"SELECT row_id, {torture.quoted(case.name)} FROM torture"
        database.run("DROP TABLE IF EXISTS one", f"CREATE TABLE one (PRIMARY KEY (row_id)) {sql}")
        output = sync(database.config("one"), lane=lane)
        schema = output.schema["properties"][case.name]
        word = "json" if schema.get("x-dativo-encoding") == "json" else schema[TYPE_KEYWORD]
        assert (case.name, word) == (case.name, case.word)
        for i, row in enumerate(output.rows):
            check_value(case, torture.expected(i)[case.name], row, output, "row_id", lane)
        assert len(output.rows) == max(len(c.values) for c in torture.CASES)


def test_the_whole_table_at_once(database: Any, sync: Callable[..., Any], lane: str) -> None:
    database.run(*torture.statements("torture"))
    output = sync(database.config("torture"), lane=lane)
    for i, row in enumerate(output.rows):
        for case in torture.CASES:
            check_value(case, torture.expected(i)[case.name], row, output, "row_id", lane)


def test_a_float_is_no_other_number_under_another_type(
    database: Any, sync: Callable[..., Any], catalog: Callable[..., Any], lane: str
) -> None:
    """The server's own text of a FLOAT has six digits."""
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a float, b float, c float)",
        "INSERT INTO t SELECT seq, v, v, v FROM (SELECT 1 seq, 16777217 v UNION SELECT 2, 1234567.8 UNION SELECT 3, 0.1 "
        "UNION SELECT 4, NULL UNION SELECT 5, -9999.993) q",
    )
    chosen = catalog("t", {"id": "long", "a": "decimal(20,4)", "b": "string", "c": "long"}, ("id",))
    rows = {row["id"]: row for row in sync(database.config("t"), chosen, lane=lane).rows}
    texts = ["16777216", "1234567.8", "0.1", None, "-9999.993"]
    assert [rows[i]["b"] for i in range(1, 6)] == texts
    assert [None if rows[i]["a"] is None else Decimal(rows[i]["a"]) for i in range(1, 6)] == [
        None if t is None else Decimal(t) for t in texts
    ]
    assert [rows[i]["c"] for i in range(1, 6)] == [16777216, 1234567.8, 0.1, None, -9999.993], (
        "what is no whole number is left to the target"
    )


def test_only_bytes_are_binary(database: Any, sync: Any, catalog: Any, lane: str) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, n bigint, b varbinary(9))", "INSERT INTO t VALUES (1, 16777217, 'abc')"
    )
    with pytest.raises(TapError, match=r"n is bigint.* there and binary in the contract"):
        sync(database.config("t"), catalog("t", {"id": "long", "n": "binary"}, ("id",)), lane=lane)
    (row,) = sync(database.config("t"), catalog("t", {"id": "long", "b": "binary"}, ("id",)), lane=lane).rows
    assert row["b"] in (b"abc", "YWJj")


def test_bytes_are_no_number(database: Any, sync: Any, catalog: Any, lane: str) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, b varbinary(9))", "INSERT INTO t VALUES (1, 'abc')")
    for word in ("long", "double", "decimal(9,2)", "boolean", "date"):
        (row,) = sync(database.config("t"), catalog("t", {"id": "long", "b": word}, ("id",)), lane=lane).raw
        assert row["b"] == "0x616263", word


@pytest.mark.parametrize("value", [16777216, 2**53 - 1, -1e15])
def test_whole_numbers_with_an_exponent_are_whole_numbers(
    database: Any, sync: Any, catalog: Any, lane: str, value: float
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, d double)", f"INSERT INTO t VALUES (1, {value})")
    output = sync(database.config("t"), catalog("t", {"id": "long", "d": "long"}, ("id",)), lane=lane)
    assert [row["d"] for row in output.rows] == [int(value)]
    assert bool(output.batched) == (lane == "arrow"), "it is no misfit"
