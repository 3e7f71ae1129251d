"""A glance says what preflight would say, or nothing."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from target_iceberg.glance import is_new_at_a_glance, state_at_a_glance
from target_iceberg.load_plan import Column, LakeCatalog, LoadPlan, StreamPlan
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.bookmark import Bookmark
from target_iceberg.table.iceberg_schema import iceberg_schema
from target_iceberg.table.lake_catalog import open_catalog

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="amount", type="decimal(12,2)"),
    Column(name="at", type="timestamptz"),
)
STATE = {"bookmark": {"replication_key_value": 7}}


def stream(**changes: Any) -> StreamPlan:
    values = {"stream": "orders", "namespace": ("shop",), "table": "orders", "columns": COLUMNS, "key": ("id",),
              "write_mode": "upsert", "fingerprint": "f" * 64}  # fmt: skip
    return StreamPlan(**{**values, **changes})


def plan(root: Path, *streams: StreamPlan) -> LoadPlan:
    return LoadPlan(
        tenant="t", job="j", state_id="s", tap="tap-x", state_dir="state/t/j", streams=streams or (stream(),),
        catalog=LakeCatalog(kind="embedded", path=str(root / "lake #1")),
    )  # fmt: skip


@pytest.fixture
def lake(tmp_path: Path) -> Any:
    """A table as the job's last publish left it."""
    catalog = open_catalog(plan(tmp_path).catalog)
    assert catalog is not None
    catalog.create_namespace("shop")
    table = catalog.create_table("shop.orders", schema=iceberg_schema(COLUMNS))
    table.append(iceberg_schema(COLUMNS).as_arrow().empty_table())
    snapshot = table.current_snapshot()
    bookmark = Bookmark(n=1, commit_id="c", snapshot_id=snapshot.snapshot_id, sequence_number=1, run_id="r",
                        fingerprint="f" * 64, state=STATE)  # fmt: skip
    with table.transaction() as transaction:
        transaction.set_properties({bookmarks.property_name("t", "j", "orders"): bookmarks.encode(bookmark)})
    return catalog.load_table("shop.orders")


def test_a_table_as_it_was_left_gives_its_state(lake: Any, tmp_path: Path) -> None:
    assert state_at_a_glance(plan(tmp_path)) == {"bookmarks": {"orders": STATE["bookmark"]}}


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": COLUMNS[:2]},
        {"columns": (*COLUMNS, Column(name="new", type="string"))},
        {"columns": (COLUMNS[0], Column(name="amount", type="decimal(14,2)"), COLUMNS[2])},
        {"columns": (msgspec.structs.replace(COLUMNS[0], required=False), *COLUMNS[1:])},
        {"fingerprint": "0" * 64},
        {"write_mode": "replace"},
        {"table": "others"},
        {"stream": "never_loaded"},
    ],
    ids=lambda c: next(iter(c)),
)
def test_anything_else_is_left_to_preflight(lake: Any, tmp_path: Path, changes: dict[str, Any]) -> None:
    assert state_at_a_glance(plan(tmp_path, stream(**changes))) is None
    assert state_at_a_glance(plan(tmp_path, stream(), stream(**{"stream": "second", **changes}))) is None


def test_a_foreign_commit_is_left_to_preflight(lake: Any, tmp_path: Path) -> None:
    lake.append(lake.schema().as_arrow().empty_table())
    assert state_at_a_glance(plan(tmp_path)) is None


def test_a_lake_that_cannot_be_read_is_left_to_preflight(lake: Any, tmp_path: Path) -> None:
    assert state_at_a_glance(plan(tmp_path / "nowhere")) is None
    with sqlite3.connect(tmp_path / "lake #1" / "catalog.db") as connection:
        connection.execute("UPDATE iceberg_tables SET metadata_location = 'file:///nowhere.json'")
    connection.close()
    assert state_at_a_glance(plan(tmp_path)) is None


def test_other_catalogs_are_left_to_preflight(tmp_path: Path) -> None:
    other = msgspec.structs.replace(plan(tmp_path), catalog=LakeCatalog(kind="pyiceberg", properties={"type": "rest"}))
    assert state_at_a_glance(other) is None


def test_a_job_without_tables_is_new(lake: Any, tmp_path: Path) -> None:
    assert is_new_at_a_glance(plan(tmp_path, stream(table="others")))
    assert is_new_at_a_glance(plan(tmp_path / "nowhere"))
    assert not is_new_at_a_glance(plan(tmp_path))
    assert not is_new_at_a_glance(plan(tmp_path, stream(table="others", stream="second"), stream()))


def test_a_job_that_a_killed_run_has_left_something_of_is_not_new(lake: Any, tmp_path: Path) -> None:
    (tmp_path / "lake #1/warehouse/_dativo/t/j/run").mkdir(parents=True)
    assert not is_new_at_a_glance(plan(tmp_path, stream(table="others")))


@pytest.mark.parametrize(
    "catalog",
    [{"kind": "pyiceberg"}, {"properties": {"warehouse": "s3://bucket"}}],
    ids=["another catalog", "another store"],
)
def test_what_a_glance_cannot_see_is_not_new(tmp_path: Path, catalog: dict[str, Any]) -> None:
    made = plan(tmp_path)
    made = msgspec.structs.replace(made, catalog=msgspec.structs.replace(made.catalog, **catalog))
    assert not is_new_at_a_glance(made)


def test_a_glance_loads_no_pyiceberg() -> None:
    code = "import sys, target_iceberg.glance; print(sorted({'pyiceberg', 'pyarrow', 'sqlalchemy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
