"""Every type of PostgreSQL, at its edges: exact, or a text that the target rejects; by both lanes, alone and in groups."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tap_kit.columns import TYPE_KEYWORD
from tap_kit.errors import TapError
from tap_kit.testing import check_value

if TYPE_CHECKING:
    from collections.abc import Callable

_spec = importlib.util.spec_from_file_location("torture_postgres", Path(__file__).parent / "torture.py")
assert _spec
assert _spec.loader
torture = sys.modules["torture_postgres"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(torture)


def test_values_arrive_exactly(database: Any, sync: Callable[..., Any], lane: str) -> None:
    """Each column with the key alone, so that a value without room in its type does not hide the others; and whatever the
    database's own settings say of how values look."""
    database.run(
        *(
            f"ALTER DATABASE {database.name} SET {name} TO '{value}'"
            for name, value in {
                "timezone": "America/St_Johns",
                "datestyle": "German",
                "intervalstyle": "postgres_verbose",
                "bytea_output": "escape",
                "extra_float_digits": "0",
                "xmlbinary": "hex",
            }.items()
        ),
        *torture.statements("public.torture"),
    )
    for case in torture.CASES:
        sql = f"SELECT row_id, {torture.quoted(case.name)} FROM public.torture"
        database.run("DROP TABLE IF EXISTS public.one", f"CREATE TABLE public.one AS {sql}")
        database.run("ALTER TABLE public.one ADD PRIMARY KEY (row_id)")
        output = sync(database.config("public.one"), lane=lane)
        schema = output.schema["properties"][case.name]
        word = "json" if schema.get("x-dativo-encoding") == "json" else schema[TYPE_KEYWORD]
        assert (case.name, word) == (case.name, case.word)
        for i, row in enumerate(output.rows):
            check_value(case, torture.expected(i)[case.name], row, output, "row_id", lane)
        assert len(output.rows) == max(len(c.values) for c in torture.CASES)


def test_the_whole_table_at_once(database: Any, sync: Callable[..., Any], lane: str) -> None:
    database.run(*torture.statements("public.torture"))
    output = sync(database.config("public.torture"), lane=lane)
    for i, row in enumerate(output.rows):
        for case in torture.CASES:
            check_value(case, torture.expected(i)[case.name], row, output, "row_id", lane)


def test_only_bytes_are_binary(database: Any, sync: Any, catalog: Any, lane: str) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, n bigint, b bytea)", "INSERT INTO t VALUES (1, 16777217, '\\x616263')"
    )
    with pytest.raises(TapError, match=r"n is bigint.* there and binary in the contract"):
        sync(database.config("public.t"), catalog("t", {"id": "long", "n": "binary"}, ("id",)), lane=lane)
    (row,) = sync(database.config("public.t"), catalog("t", {"id": "long", "b": "binary"}, ("id",)), lane=lane).rows
    assert row["b"] in (b"abc", "YWJj")


def test_bytes_are_no_number(database: Any, sync: Any, catalog: Any, lane: str) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, b bytea)", "INSERT INTO t VALUES (1, '\\x616263')")
    for word in ("long", "double", "decimal(9,2)", "boolean", "date"):
        (row,) = sync(database.config("public.t"), catalog("t", {"id": "long", "b": word}, ("id",)), lane=lane).raw
        assert row["b"] == "\\x616263", word


@pytest.mark.parametrize("value", [16777216, 2**53 - 1, -1e15])
def test_whole_numbers_with_an_exponent_are_whole_numbers(
    database: Any, sync: Any, catalog: Any, lane: str, value: float
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, d double precision)", f"INSERT INTO t VALUES (1, {value})")
    output = sync(database.config("public.t"), catalog("t", {"id": "long", "d": "long"}, ("id",)), lane=lane)
    assert [row["d"] for row in output.rows] == [int(value)]
    assert bool(output.batched) == (lane == "arrow"), "it is no misfit"
