"""`dativo table`: what lies in the lake."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import click
import msgspec

from dativo.commands.output import print_json, print_table
from dativo.errors import DativoError
from dativo.runtime.lake_access import catalog_here, lake_problems

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from target_iceberg.lake import Lake, LakeTable, SnapshotInfo
    from target_iceberg.load_plan import LakeCatalog


class Lakes:
    """The lake catalogs that the jobs of one tenant, or of all, write to; each once."""

    def __init__(self, tenant: str | None, branch: str | None = None) -> None:
        self.left_out: dict[str, list[str]] = {}
        """Tenant -> why lakes of it cannot be opened."""
        self._tenant, self._branch = tenant, branch
        """On which branch or commit of Nessie to look; None: on each job's own."""

    def open(self) -> Iterator[tuple[str, Lake]]:
        """Tenant and open lake, as far as lakes can be opened; `left_out` says of the others why."""
        from dativo.commands.loading import load_or_tell
        from dativo.lower import lake_catalog
        from target_iceberg.lake import open_lake

        loaded = load_or_tell([], tenant=self._tenant)
        wanted: dict[object, ResolvedJob] = {}
        for job in loaded.jobs:
            catalog = lake_catalog.lower(job)
            if self._branch is not None and catalog.kind != "nessie":
                continue  # which has no branches
            # Jobs may keep their files in different places and all the same share the tenant's embedded lake catalog; one
            # that says how a store is reached can also read the tables of one that needs none.
            key = (job.tenant, catalog.path if catalog.kind == "embedded" else repr(catalog))
            if key not in wanted or len(catalog.properties) > len(lake_catalog.lower(wanted[key]).properties):
                wanted[key] = job
        for job in wanted.values():
            try:
                with lake_problems():
                    lake = open_lake(self._here(job, loaded.root))
            except DativoError as problem:
                self.left_out.setdefault(job.tenant, []).append(problem.message)
                continue
            yield job.tenant, lake

    def _here(self, job: ResolvedJob, root: Path) -> LakeCatalog:
        catalog = catalog_of(job, root)
        return catalog if self._branch is None else msgspec.structs.replace(catalog, branch=self._branch)

    def tell(self) -> None:
        """Say on stderr what was left out."""
        for tenant, reasons in self.left_out.items():
            more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
            click.echo(f"left out {tenant}: {reasons[0]}{more}", err=True)


def catalog_of(job: ResolvedJob, root: Path) -> LakeCatalog:
    """The lake catalog of a job with its variables filled in."""
    from dativo.lower.load_plan import lower
    from dativo.runtime.environment import job_environment

    plan = lower(job)
    environment = job_environment(job, plan, root=root, secrets_dir=root / "secrets", environ=os.environ, needs="lake")
    return catalog_here(plan, root=root, variables=environment.variables)


def list_tables(*, tenant: str | None, output_format: str) -> int:
    """Print the address, row count and last commit of every table."""
    rows = []
    lakes = Lakes(tenant)
    with lake_problems():
        for owner, lake in lakes.open():
            tables = [lake.table(address) for address in lake.list_tables()]
            rows += [_summary(owner, table) for table in tables if table is not None]
    lakes.tell()
    if output_format == "json":
        print_json(rows)
    elif rows:
        print_table(None, rows)
    elif not lakes.left_out:
        click.echo("no tables yet; load some: dativo run --job-dir jobs")
    return 2 if lakes.left_out and not rows else 0


def show_files(*, tenant: str | None, output_format: str) -> int:
    """Print how many files each table has, how large they are on average and the smallest, and its snapshots."""
    rows = []
    lakes = Lakes(tenant)
    with lake_problems():
        for owner, lake in lakes.open():
            for address in lake.list_tables():
                table = lake.table(address)
                if table is not None:
                    rows.append({"table": f"{owner}/{address}", **dataclasses.asdict(table.file_health())})
    lakes.tell()
    if output_format == "json":
        print_json(rows)
    elif rows:
        print_table(None, [_readable(row) for row in rows])
    elif not lakes.left_out:
        click.echo("no tables yet; load some: dativo run --job-dir jobs")
    return 2 if lakes.left_out and not rows else 0


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    sizes = {k.removesuffix("_bytes"): _size(v) for k, v in row.items() if k.endswith("_bytes")}
    return {k.removesuffix("_bytes").replace("_", " "): sizes.get(k.removesuffix("_bytes"), v) for k, v in row.items()}


def _size(count: int | None) -> str | None:
    if count is None:
        return None
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def show_table(address: str, *, limit: int, output_format: str, branch: str | None = None) -> int:
    """Print schema, current snapshot with its receipt, and the first rows; `branch` may carry `@<hash>`."""
    tenant, slash, name = address.rpartition("/")
    with lake_problems():
        owner, table = _find(tenant if slash else None, name, branch)
        document = _document(owner, table, limit)
    if output_format == "json":
        print_json(document)
        return 0
    click.echo(f"{owner}/{table.address}   {document['records']:,} rows   {table.location}")
    if table.partitioning:
        click.echo(f"partitioned by {', '.join(table.partitioning)}")
    print_table("Schema", document["schema"])
    if document["snapshot"] is not None:
        shown = {k: v for k, v in document["snapshot"].items() if not k.startswith("dativo.bookmark.")}
        print_table("Current snapshot", [{"fact": k, "value": v} for k, v in shown.items()])
    if document["rows"]:
        print_table(f"First {len(document['rows'])} rows", document["rows"])
    return 0


def verify_table(address: str, snapshot_id: int | None, *, output_format: str) -> int:
    """Read the files that a snapshot added, and the rows that it shows, and compare them with its receipt; 1 when they differ."""
    tenant, slash, name = address.rpartition("/")
    with lake_problems():
        owner, table = _find(tenant if slash else None, name)
        found = table.verify(snapshot_id)
    if output_format == "json":
        print_json(
            {
                "table": f"{owner}/{table.address}",
                "snapshot_id": found.snapshot_id,
                "run_id": found.run_id,
                "files": found.files,
                "bytes": found.size_bytes,
                "content_rows": found.content_rows,
                "problems": found.problems,
            }
        )
    else:
        what = f"{owner}/{table.address}, snapshot {found.snapshot_id} of run {found.run_id or '-'}"
        if not found.problems:
            click.echo(f"{what}: {found.files} files, {found.size_bytes:,} bytes, as its receipt says")
            if found.content_rows is not None:
                click.echo(f"{found.content_rows:,} rows: their content digest is that of the receipt")
        for problem in found.problems:
            click.echo(f"{what}: {problem}", err=True)
        if found.problems:
            click.echo("restore the files, or load the rows again: dativo run --full-refresh --config <job>", err=True)
    return 1 if found.problems else 0


def _find(tenant: str | None, name: str, branch: str | None = None) -> tuple[str, LakeTable]:
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
    lakes = Lakes(tenant, branch)
    for owner, lake in lakes.open():
        table = lake.table(name)
        if table is not None:
            found.append((owner, table))
        else:
            known += [f"{owner}/{t}" for t in lake.list_tables()]
    if len(found) > 1:
        choices = ", ".join(f"{t}/{name}" for t, _ in found)
        raise DativoError(f"{name}: several tenants have such a table", f"say which: {choices}")
    if not found:
        lakes.tell()
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
