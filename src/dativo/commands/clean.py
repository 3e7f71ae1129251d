"""`dativo clean`: what killed runs left behind; never a table, a bookmark or a secret."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import click

from dativo.errors import DativoError
from dativo.runtime import private_directory
from dativo.runtime.lake_access import lake_problems, plan_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob

DISPOSABLE = ("cache", "tmp")
"""Below .dativo/; plans belong to `dativo compile` and plugins to `dativo install`."""


def clean(paths: Sequence[Path], *, dry_run: bool, older_than_hours: float) -> int:
    """Remove leftovers and print each."""
    from dativo.commands.loading import load_or_tell

    loaded = load_or_tell(paths)
    verb = "would remove" if dry_run else "removed"
    for path in _leftovers(loaded.root, dry_run=dry_run):
        click.echo(f"{verb} {path}")
    for job in loaded.jobs:
        try:
            orphans = _orphans(loaded.root, job, older_than_s=older_than_hours * 3600, delete=not dry_run)
        except DativoError as problem:  # one lake out of reach does not keep the others from being cleaned
            click.echo(f"left out {job.tenant}/{job.name}: {problem.message}", err=True)
            continue
        for file in orphans:
            click.echo(f"{verb} {file}")
    return 0


def _orphans(root: Path, job: ResolvedJob, *, older_than_s: float, delete: bool) -> list[str]:
    """Files of the job's tables that no snapshot names.

    Raises:
        DativoError: the lake cannot be opened, or is not one that we may clean.
    """
    from dativo.lower.load_plan import lower
    from dativo.runtime.environment import job_environment
    from target_iceberg.lake import clean as clean_lake

    plan = lower(job)
    environment = job_environment(job, plan, root=root, secrets_dir=root / "secrets", environ=os.environ, needs="lake")
    here = plan_here(plan, root=root, variables=environment.variables)
    with lake_problems():
        return [file for found in clean_lake(here, older_than_s=older_than_s, delete=delete) for file in found.paths]


def _leftovers(root: Path, *, dry_run: bool) -> Iterator[Path]:
    for base in private_directory.bases(os.environ):
        yield from private_directory.dead(base) if dry_run else private_directory.remove_dead(base)
    own = root / ".dativo"
    for path in [*(own / name for name in DISPOSABLE), *own.glob("crash-*.log"), *own.glob("plugins/*.partial")]:
        if path.exists():
            if not dry_run:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield path
