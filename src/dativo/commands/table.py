"""`dativo table`: what lies in the lake."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dativo.commands.output import print_json, print_table
from dativo.errors import DativoError
from dativo.runtime.lake_access import catalog_here, lake_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_iceberg.lake import Lake, LakeTable, SnapshotInfo
    from target_iceberg.load_plan import LakeCatalog


@dataclass(frozen=True, slots=True)
class TenantLake:
    """One lake catalog of one tenant."""

    tenant: str
    catalog: LakeCatalog


def tenant_lakes(tenant: str | None) -> list[TenantLake]:
    """The lake catalogs that the jobs of one tenant, or of all, write to; each once."""
    from dativo.commands.loading import load_or_refuse
    from dativo.lower.load_plan import lower
    from dativo.runtime.environment import job_environment

    loaded = load_or_refuse([], tenant=tenant)
    lakes: list[TenantLake] = []
    seen: set[tuple[str, str]] = set()
    for job in loaded.jobs:
        plan = lower(job)
        key = (job.tenant, repr(plan.catalog))
        if key in seen:
            continue
        seen.add(key)
        environment = job_environment(
            job, plan, root=loaded.root, secrets_dir=loaded.root / "secrets", environ=os.environ, needs="lake"
        )
        catalog = catalog_here(plan.catalog, root=loaded.root, variables=environment.variables)
        lakes.append(TenantLake(job.tenant, catalog))
    return lakes


def list_tables(*, tenant: str | None, output_format: str) -> int:
    """Print the address, row count and last commit of every table."""
    rows = []
    with lake_problems():
        for lake, found in _open(tenant):
            for address in found.list_tables():
                table = found.table(address)
                if table is not None:
                    rows.append(_summary(lake.tenant, table))
    if output_format == "json":
        print_json(rows)
    elif rows:
        print_table(None, rows)
    else:
        click.echo("no tables yet; load some: dativo run --job-dir jobs")
    return 0


def show_table(address: str, *, limit: int, output_format: str) -> int:
    """Print schema, current snapshot with its receipt, and the first rows."""
    tenant, slash, name = address.rpartition("/")
    with lake_problems():
        owner, table = _find(tenant if slash else None, name)
        document = _document(owner, table, limit)
    if output_format == "json":
        print_json(document)
        return 0
    click.echo(f"{owner}/{table.address}   {document['records']:,} rows   {table.location}")
    if table.partitioning:
        click.echo(f"partitioned by {', '.join(table.partitioning)}")
    print_table("Schema", document["schema"])
    if document["snapshot"] is not None:
        facts = [{"": k, "snapshot": v} for k, v in document["snapshot"].items()]
        print_table("Current snapshot", facts)
    if document["rows"]:
        print_table(f"First {len(document['rows'])} rows", document["rows"])
    return 0


def _open(tenant: str | None) -> Iterator[tuple[TenantLake, Lake]]:
    from target_iceberg.lake import open_lake

    for lake in tenant_lakes(tenant):
        yield lake, open_lake(lake.catalog)


def _find(tenant: str | None, name: str) -> tuple[str, LakeTable]:
    """The one table of that address.

    Raises:
        DativoError: there is none, or several tenants have one.
    """
    if "." not in name:
        raise DativoError(
            f"{name}: not a table address", "write [tenant/]namespace.table; `dativo table list` shows all"
        )
    found: list[tuple[str, LakeTable]] = []
    known: list[str] = []
    for lake, opened in _open(tenant):
        table = opened.table(name)
        if table is not None:
            found.append((lake.tenant, table))
        else:
            known += [f"{lake.tenant}/{t}" for t in opened.list_tables()]
    if len(found) > 1:
        choices = ", ".join(f"{t}/{name}" for t, _ in found)
        raise DativoError(f"{name}: several tenants have such a table", f"say which: {choices}")
    if not found:
        raise DativoError(f"{name}: no such table", _suggestion(name, known))
    return found[0]


def _suggestion(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known + [k.partition("/")[2] for k in known], n=1)
    return f"did you mean {near[0]}?" if near else "`dativo table list` shows all"


def _summary(tenant: str, table: LakeTable) -> dict[str, Any]:
    snapshot = table.current_snapshot()
    return {
        "table": f"{tenant}/{table.address}",
        "rows": table.count,
        "last commit": snapshot.committed_at.isoformat(sep=" ", timespec="seconds") if snapshot else None,
    }


def _document(tenant: str, table: LakeTable, limit: int) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "table": table.address,
        "location": table.location,
        "metadata_location": table.metadata_location,
        "records": table.count,
        "partitioning": table.partitioning,
        "schema": table.schema_rows(),
        "snapshot": _snapshot(table.current_snapshot()),
        "rows": table.rows(limit).to_pylist() if limit else [],
    }


def _snapshot(snapshot: SnapshotInfo | None) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    receipt = {k: v for k, v in sorted(snapshot.summary.items()) if k.startswith("dativo.")}
    return {
        "id": str(snapshot.snapshot_id),
        "committed at": snapshot.committed_at.isoformat(sep=" ", timespec="seconds"),
        "operation": snapshot.operation,
        **receipt,
    }
