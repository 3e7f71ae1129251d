"""Resolved jobs made by hand, so that lowering is tested without configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dativo.config.model.contract import Contract, ContractTarget
from dativo.config.model.registry import ConnectorType, PluginSpec
from dativo.config.model.resolved import Incremental, Plugin, ResolvedJob, Secret, Source, SourceObject, Target
from target_iceberg.load_plan import Column, Rule


def contract(name: str = "orders", **changes: Any) -> Contract:
    values: dict[str, Any] = {
        "path": Path(f"assets/csv/v1.0/{name}.yaml"),
        "file": f"assets/csv/v1.0/{name}.yaml",
        "spelling": "flat",
        "name": name,
        "version": "1.0.0",
        "object": name,
        "domain": "shop",
        "columns": (
            Column(name="order_id", type="long", required=True),
            Column(name="amount", type="decimal(12,2)"),
            Column(name="ordered_at", type="timestamptz"),
        ),
        "key": ("order_id",),
        "rules": (Rule(name="orders.amount.minimum", kind="minimum", columns=("amount",), argument=0),),
        "digest": "d" * 64,
        "target": ContractTarget(),
    }
    return Contract(**{**values, **changes})


def connector_type(category: str, name: str, **changes: Any) -> ConnectorType:
    plugin = PluginSpec(name=name, executable=name)
    return ConnectorType(roles=["source", "target"], category=category, plugin=plugin, **changes)  # type: ignore[arg-type]


def job(tenant: str = "demo", name: str = "orders", **changes: Any) -> ResolvedJob:
    """A CSV job; `source__x` and `target__x` change its source and target."""
    source = Source(
        connector="csv",
        type="csv",
        connector_type=connector_type("files", "tap-csv", resume="exclusive", settings={"files": {}, "rejects": {}}),
        plugin=Plugin(name="tap-csv", executable="tap-csv", accepts_arrow=True, secrets_by_name=True),
        settings={"files": [{"path": "examples/orders/*.csv", "object": "orders"}]},
        secrets=(),
        objects=(SourceObject(name="orders", contract=contract(), selection={"paths": ["examples/orders/*.csv"]}),),
        incremental=Incremental(strategy="file_modified_time"),
        identity={},
    )
    target = Target(
        connector="iceberg",
        type="iceberg",
        connector_type=connector_type("lake", "target-iceberg"),
        plugin=Plugin(name="target-iceberg", executable="target-iceberg", accepts_arrow=True),
        settings={},
        secrets=(),
        branch=None,
        warehouse=None,
        namespace=None,
        table=None,
        connection={},
        target_file_size_mb=None,
    )
    of_source = {k[8:]: v for k, v in changes.items() if k.startswith("source__")}
    of_target = {k[8:]: v for k, v in changes.items() if k.startswith("target__")}
    rest = {k: v for k, v in changes.items() if "__" not in k}
    return ResolvedJob(
        **{
            "path": Path(f"jobs/{tenant}/{name}.yaml"),
            "tenant": tenant,
            "name": name,
            "environment": "dev",
            "source": replace(source, **of_source),
            "target": replace(target, **of_target),
            **rest,
        }
    )


def database_job(**changes: Any) -> ResolvedJob:
    """A job that reads a database table by a cursor, with a password."""
    return job(
        **{
            "tenant": "acme",
            "name": "pg_orders",
            "source__connector": "postgres",
            "source__type": "postgres",
            "source__connector_type": connector_type("database", "tap-postgres", resume="inclusive"),
            "source__plugin": Plugin(name="tap-postgres", executable="tap-postgres"),
            "source__settings": {"connection": {"host": "${PG_HOST:-localhost}", "port": 5432}},
            "source__secrets": (Secret(setting="connection.password", name="PG_PASSWORD"),),
            "source__incremental": Incremental(strategy="updated_at", cursor_field="ordered_at"),
            "source__identity": {"host": "${PG_HOST:-localhost}", "port": 5432},
            "source__objects": (
                SourceObject(
                    name="orders",
                    contract=contract(),
                    selection={"table": "public.orders"},
                    cursor_field="ordered_at",
                ),
            ),
            **changes,
        }
    )


@pytest.fixture
def make_job() -> Any:
    return job


@pytest.fixture
def make_database_job() -> Any:
    return database_job


@pytest.fixture
def make_contract() -> Any:
    return contract
