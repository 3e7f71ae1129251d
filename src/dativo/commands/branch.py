"""`dativo branch`: branches of the Nessie server that jobs publish on."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

import click
import msgspec

from dativo.commands.output import print_json, print_table
from dativo.commands.table import catalog_of
from dativo.errors import DativoError
from dativo.runtime.lake_access import lake_problems

if TYPE_CHECKING:
    from dativo.config.model.resolved import ResolvedJob
    from target_iceberg.branches import Branches


def list_branches(job: str | None, *, output_format: str) -> int:
    """Print all branches."""
    with lake_problems():
        rows = _branches(job).listed()
    if output_format == "json":
        print_json(rows)
    else:
        print_table(None, [{**r, "hash": r["hash"][:12]} for r in rows])
    return 0


def log(job: str | None, branch: str, *, limit: int, output_format: str) -> int:
    """Print the last commits of a branch."""
    with lake_problems():
        commits = _branches(job).log(branch, limit)
    rows = [{"hash": c.hash, "committed": c.committed_at, "message": c.message} for c in commits]
    if output_format == "json":
        print_json(rows)
    elif rows:
        print_table(None, [{**r, "hash": r["hash"][:12]} for r in rows])
    else:
        click.echo(f"{branch} has no commits")
    return 0


def diff(job: str | None, branch: str, *, base: str | None, output_format: str) -> int:
    """Print the tables that differ: rows before and after, and changes of the schema."""
    with lake_problems():
        found = _branches(job).diff(branch, base)
    if output_format == "json":
        print_json([msgspec.to_builtins(d) for d in found])
    elif found:
        rows = [
            {"table": d.table, "rows before": d.rows_before, "rows after": d.rows_after, "schema": ", ".join(d.schema)}
            for d in found
        ]
        print_table(None, rows)
    else:
        click.echo("no table differs")
    return 0


def merge(job: str | None, source: str, *, into: str) -> int:
    """Bring a branch's tables to another one."""
    with lake_problems():
        merged = _branches(job).merge(source, into, getpass.getuser())
    click.echo(f"{into} is at {merged}")
    return 0


def delete(job: str | None, branch: str, *, assume_yes: bool) -> int:
    """Delete a branch."""
    if not assume_yes:
        click.confirm(f"Delete the branch {branch} and what only it shows?", abort=True)
    with lake_problems():
        _branches(job).delete(branch)
    click.echo(f"deleted {branch}")
    return 0


def rollback(job: str | None, branch: str, *, to: str, force: bool, assume_yes: bool) -> int:
    """Move a branch back to one of its commits."""
    with lake_problems():
        branches = _branches(job)
        undone = branches.rollback(branch, to, force=force, dry_run=True)
    if not undone.commits:
        click.echo(f"{branch} is at {undone.hash}")
        return 0
    for name in undone.jobs:
        click.echo(f"the bookmarks of {name} go back with its rows: its next run reads again what came after")
    for message in undone.others:
        click.echo(f"undoes the commit '{message}'")
    if not assume_yes:
        click.confirm(f"Undo {undone.commits} commits of {branch}?", abort=True)
    with lake_problems():
        branches.rollback(branch, undone.hash, force=force)
    click.echo(f"{branch} is at {undone.hash}")
    return 0


def _branches(job: str | None) -> Branches:
    """The branches of the server that a job, or every job on Nessie, publishes on.

    Raises:
        DativoError: no job publishes on Nessie, or jobs do on several servers.
    """
    from dativo.commands.loading import load_or_tell
    from dativo.lower import lake_catalog
    from target_iceberg.branches import Branches

    loaded = load_or_tell([])
    servers: dict[str, ResolvedJob] = {}
    for one in loaded.jobs:
        catalog = lake_catalog.lower(one)
        if catalog.kind == "nessie" and job in (None, f"{one.tenant}/{one.name}"):
            servers.setdefault(catalog.properties.get("uri", ""), one)
    if not servers:
        which = f"{job} is no job that publishes" if job else "no job publishes"
        raise DativoError(
            f"{which} on Nessie", "give its recipe of type iceberg a connection to Nessie: nessie: {uri: ..}"
        )
    if len(servers) > 1:
        jobs = ", ".join(f"{j.tenant}/{j.name}" for j in servers.values())
        raise DativoError(f"jobs publish on {len(servers)} Nessie servers", f"say which with --job, e.g. one of {jobs}")
    return Branches(catalog_of(next(iter(servers.values())), loaded.root))
