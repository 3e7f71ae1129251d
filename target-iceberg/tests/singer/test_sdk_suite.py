"""The Singer SDK's standard tests for targets, and what a Meltano user without a load plan gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from singer_sdk.testing import get_target_test_class

from target_iceberg import load_plan
from target_iceberg.singer.target import TargetIceberg

if TYPE_CHECKING:
    from pathlib import Path

StandardTests: Any = get_target_test_class(target_class=TargetIceberg, config={})


class TestStandard(StandardTests):
    """Each in a lake of its own."""

    @pytest.fixture(autouse=True)
    def _own_lake(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(load_plan.PROJECT_ROOT_ENV, str(tmp_path))


SCHEMA = {
    "type": "SCHEMA",
    "stream": "orders",
    "key_properties": ["id"],
    "schema": {"required": ["id"], "properties": {"id": {"type": "integer"}, "status": {"type": ["string", "null"]}}},
}


def record(number: int, status: str = "new") -> dict[str, Any]:
    return {"type": "RECORD", "stream": "orders", "record": {"id": number, "status": status}}


def test_without_a_plan_keys_mean_upsert_into_a_default_lake(target: Any) -> None:
    state = {"type": "STATE", "value": {"bookmarks": {"orders": {"x": 1}}}}
    first = target.send(SCHEMA, record(1), record(2), state, config={})
    assert (first.code, first.states) == (0, [state["value"]])
    target.send(SCHEMA, record(2, "paid"), record(3), config={})
    from target_iceberg.lake import open_lake
    from target_iceberg.load_plan import LakeCatalog

    table = open_lake(LakeCatalog(kind="embedded", path="lake/default")).table("default.orders")
    assert {r["id"]: r["status"] for r in table.rows(100).to_pylist()} == {1: "new", 2: "paid", 3: "new"}


def test_without_a_plan_a_catalog_of_pyiceberg_properties_is_used(target: Any) -> None:
    config = {
        "catalog": {"type": "sql", "uri": f"sqlite:///{target.root}/c.db", "warehouse": f"file://{target.root}/w"},
        "default_target_schema": "raw",
        "load_method": "append-only",
    }
    for _ in range(2):
        assert target.send(SCHEMA, record(1), config=config).code == 0
    from target_iceberg.lake import open_lake
    from target_iceberg.load_plan import LakeCatalog

    table = open_lake(LakeCatalog(kind="pyiceberg", properties=config["catalog"])).table("raw.orders")
    assert table.count == 2


def test_a_wrong_setting_is_an_error_without_traceback(target: Any) -> None:
    result = target.send(SCHEMA, config={"load_method": "overwriet"})
    assert result.code == 2
    assert "Traceback" not in result.stderr
    assert "load_method" in result.stderr
