"""Every type of MySQL, at its edges: exact, or a text that the target rejects; by both lanes, alone and in groups."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_kit.columns import TYPE_KEYWORD
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
