"""Every type of PostgreSQL, at its edges: exact, or a text that the target rejects; by both lanes, alone and in groups."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_kit.columns import TYPE_KEYWORD
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
