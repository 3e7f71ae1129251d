"""Tables of every kind that a run can leave, in a SQL catalog and on Nessie, and what runs of jobs made of databases whose rows
were changed and deleted; with the rows that PyIceberg sees in them, for Spark to compare.

Usage: tables.py DIRECTORY
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from pyiceberg.catalog.sql import SqlCatalog

from target_iceberg import load_plan
from target_iceberg.load_plan import LakeCatalog, LoadPlan, StreamPlan
from target_iceberg.table.lake_catalog import nessie_catalog
from target_iceberg.types import column_from_json_schema

sys.path[:0] = [str(Path(__file__).parents[1] / "services"), str(Path(__file__).parents[2] / "benchmarks")]
import database_cases  # noqa: E402  found by the path above
import servers  # noqa: E402

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog

OWNER = "spark"

PROPERTIES = {
    "id": {"type": "integer"},
    "status": {"type": ["string", "null"]},
    "amount": {"type": ["string", "null"], "format": "decimal", "precision": 20, "scale": 3},
    "at": {"type": ["string", "null"], "format": "date-time"},
    "o": {"type": ["object", "null"], "properties": {"k": {"type": ["integer", "null"]}}},
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hidden": {"partition_by": ["bucket(3, id)"]},
    "by_status": {"partition_by": ["status", "day(at)"]},
    "sorted": {"sort_by": ["status desc", "id"]},
}


QUERY = """SELECT id, status, CAST(amount AS STRING), date_format(at, 'yyyy-MM-dd HH:mm:ss.SSSSSS'), o.k, note
FROM {} ORDER BY id"""
DATABASES = {"postgres": database_cases.Postgres, "mysql": database_cases.MariaDb}
OF_DATABASES = """SELECT id, customer_id, status, note, CAST(amount AS STRING), weight, paid, CAST(order_date AS STRING),
date_format(updated_at, 'yyyy-MM-dd HH:mm:ss.SSSSSS'), ref, attrs, coupon FROM {} ORDER BY id"""


def records(stream: str, ids: range, status: str, **more: Any) -> list[dict[str, Any]]:
    """RECORDs with a NULL here and there."""
    return [
        {
            "type": "RECORD",
            "stream": stream,
            "record": {
                "id": i,
                "status": None if i % 7 == 0 else status,
                "amount": f"{i}.125",
                "at": f"2026-01-{1 + i % 28:02d}T12:00:00.000001+01:00",
                "o": None if i % 5 == 0 else {"k": i},
                **more,
            },
        }
        for i in ids
    ]


def load(directory: Path, stream: str, properties: dict[str, Any], rows: list[Any], **settings: Any) -> None:
    """A run of the target."""
    catalog = {"type": "sql", "uri": f"sqlite:///{directory}/catalog.db", "warehouse": f"file://{directory}/warehouse"}
    (directory / "config.json").write_text(json.dumps({"catalog": catalog, "catalog_name": "lake", **settings}))
    schema = {"type": "SCHEMA", "stream": stream, "schema": {"properties": properties}, "key_properties": ["id"]}
    text = "".join(json.dumps(m) + "\n" for m in [schema, *rows])
    command = [str(Path(sys.executable).parent / "target-iceberg"), "--config", str(directory / "config.json")]
    subprocess.run(command, input=text, text=True, check=True, cwd=directory, stderr=subprocess.DEVNULL)


class OnNessie:
    """Runs of a job whose tables lie on a branch of a real Nessie."""

    def __init__(self, directory: Path) -> None:
        self.directory, self.servers = directory, servers.running(OWNER)
        properties = {
            "uri": self.servers.nessie,
            "s3.endpoint": self.servers.s3,
            "s3.access-key-id": self.servers.access_key,
            "s3.secret-access-key": self.servers.secret_key,
            "s3.region": "us-east-1",
        }
        self.settings = LakeCatalog(kind="nessie", properties=properties, branch=f"spark-{uuid.uuid4().hex[:8]}")
        self._loads: dict[str, int] = {}

    def load(self, name: str, properties: dict[str, Any], rows: list[Any], **settings: Any) -> None:
        """A run by load plan, so that the table can follow its contract."""
        stream = StreamPlan(
            stream=name,
            namespace=("default",),
            table=name,
            columns=tuple(column_from_json_schema(n, s, n == "id") for n, s in properties.items()),
            key=("id",),
            write_mode="upsert",
            evolution="merge",
            fingerprint="f",
            **{k: tuple(v) for k, v in settings.items()},
        )
        plan = LoadPlan(
            tenant="t",
            job=name,
            state_id=name,
            tap="x",
            catalog=self.settings,
            streams=(stream,),
            state_dir=f"state/{name}",
        )
        (self.directory / "plan.json").write_bytes(load_plan.dump(plan))
        (self.directory / "config.json").write_text('{"load_plan": "plan.json"}')
        at = self._loads.get(name, 0)
        before = {"bookmarks": {name: {"at": at}}} if at else {}
        self._loads[name] = at + 1
        messages = [
            {"type": "DATIVO_START", "run": str(uuid.uuid4()), "state": before},
            {"type": "SCHEMA", "stream": name, "schema": {"properties": properties}, "key_properties": ["id"]},
            *rows,
            {"type": "STATE", "value": {"bookmarks": {name: {"at": at + 1}}}},
            {"type": "DATIVO_END"},
        ]
        subprocess.run(
            [str(Path(sys.executable).parent / "target-iceberg"), "--config", "config.json"],
            input="".join(json.dumps(m) + "\n" for m in messages), text=True, check=True, cwd=self.directory,
        )  # fmt: skip


def of_database(directory: Path, kind: str) -> dict[str, Any]:
    """What a first load, a run after changes and a run after deletions have left of a table."""
    root = directory / kind
    database = DATABASES[kind]()
    try:
        database.fill(20_000)
        run = database_cases.project(
            root, database, "strategy: updated_at, cursor_field: updated_at", "  detect_deletes: keys\ntarget: {hard_delete: true}\n"
        )  # fmt: skip
        changes = [lambda: None, lambda: database.change(10), lambda: database.run(database.deletion)]
        for change in changes:
            change()
            subprocess.run(
                run, check=True, cwd=root, env={**os.environ, **database.environment}, stderr=subprocess.DEVNULL
            )
    finally:
        database.stop()
    with contextlib.closing(sqlite3.connect(root / "lake/bench/catalog.db")) as catalog, catalog:
        for name in ("iceberg_tables", "iceberg_namespace_properties"):  # Spark has one catalog of a name
            catalog.execute(f"UPDATE {name} SET catalog_name = '{kind}'")
    uri, warehouse = f"sqlite:///{root}/lake/bench/catalog.db", f"file://{root}/lake/bench/warehouse"
    table = SqlCatalog(kind, uri=uri, warehouse=warehouse).load_table(f"{kind}.orders")
    if not table.inspect.delete_files().num_rows:
        raise AssertionError("no run has left a file of deletes")
    rows = sorted(
        [
            r["id"], r["customer_id"], r["status"], r["note"], str(r["amount"]), r["weight"], r["paid"], str(r["order_date"]),
            r["updated_at"].strftime("%Y-%m-%d %H:%M:%S.%f"), r["ref"], r["attrs"], r["coupon"],
        ]
        for r in table.scan().to_arrow().to_pylist()
    )  # fmt: skip
    if len(rows) != 20_000 - 20_000 // 7:
        raise AssertionError(f"{kind}: {len(rows)} rows are left")
    return {f"{kind}.orders": {"query": OF_DATABASES, "rows": rows}}


def seen(catalog: Catalog) -> dict[str, Any]:
    """Rows of every table as Spark is to see them, and how it is to ask."""
    found = {}
    for name in KINDS:
        rows = catalog.load_table(f"default.{name}").scan().to_arrow().to_pylist()
        shown = sorted(
            [
                r["id"],
                r["status"],
                None if r["amount"] is None else str(r["amount"]),
                None if r["at"] is None else r["at"].strftime("%Y-%m-%d %H:%M:%S.%f"),
                None if r["o"] is None else r["o"]["k"],
                r["note"],
            ]
            for r in rows
        )
        found[f"default.{name}"] = {"query": QUERY, "rows": shown}
    return found


def main() -> None:
    """Make the tables and write expected.json."""
    directory = Path(sys.argv[1]).resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    nessie = OnNessie(directory)
    wider = {**PROPERTIES, "note": {"type": ["string", "null"]}}
    for name, settings in KINDS.items():
        for properties, rows in (
            (PROPERTIES, records(name, range(200), "new")),
            (PROPERTIES, records(name, range(100, 300), "paid")),
            (wider, records(name, range(0, 300, 10), "third", note="x")),
        ):
            load(directory, name, properties, rows, **settings)
            nessie.load(name, properties, rows, **settings)
    sql = SqlCatalog("lake", uri=f"sqlite:///{directory}/catalog.db", warehouse=f"file://{directory}/warehouse")
    where = {"branch": nessie.settings.branch, **msgspec.to_builtins(nessie.servers)}
    expected: dict[str, Any] = {kind: of_database(directory, kind) for kind in DATABASES}
    expected |= {"lake": seen(sql), "nessie": seen(nessie_catalog(nessie.settings)), "servers": where}
    (directory / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
