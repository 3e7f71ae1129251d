"""For all tests of the target: a reader of Iceberg tables that shares no code with it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def extension(name: str) -> str:
    """The file of an extension that a wheel has brought."""
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    (file,) = Path(next(iter(spec.submodule_search_locations))).rglob(f"{name}.duckdb_extension")
    return str(file)


@pytest.fixture
def duckdb_with() -> Iterator[Callable[..., duckdb.DuckDBPyConnection]]:
    """DuckDB with the named extensions."""
    connection = duckdb.connect()

    def load(*names: str) -> duckdb.DuckDBPyConnection:
        for name in names:
            connection.execute(f"LOAD '{extension(name)}'")
        return connection

    yield load
    connection.close()
