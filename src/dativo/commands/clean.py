"""`dativo clean`: what killed runs left behind; never a table, a bookmark or a secret."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import click

from dativo.runtime import private_directory
from dativo.runtime.lake_access import lake_problems, plan_here

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from target_iceberg.load_plan import LoadPlan

DISPOSABLE = ("cache", "tmp")
"""Below .dativo/; plans belong to `dativo compile` and plugins to `dativo install`."""


def clean(paths: Sequence[Path], *, dry_run: bool, older_than_hours: float) -> int:
    """Remove leftovers and print each."""
    from dativo.commands.loading import load_or_refuse

    loaded = load_or_refuse(paths)
    verb = "would remove" if dry_run else "removed"
    for path in _leftovers(loaded.root, dry_run=dry_run):
        click.echo(f"{verb} {path}")
    from target_iceberg.lake import clean as clean_lake

    with lake_problems():
        for plan in _plans(loaded.root, loaded.jobs):
            for orphans in clean_lake(plan, older_than_s=older_than_hours * 3600, delete=not dry_run):
                for file in orphans.paths:
                    click.echo(f"{verb} {file}")
    return 0


def _leftovers(root: Path, *, dry_run: bool) -> Iterator[Path]:
    for base in private_directory.bases(os.environ):
        yield from private_directory.dead(base) if dry_run else private_directory.remove_dead(base)
    own = root / ".dativo"
    for path in [*(own / name for name in DISPOSABLE), *own.glob("crash-*.log"), *own.glob("plugins/*.partial")]:
        if path.exists():
            if not dry_run:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield path


def _plans(root: Path, jobs: Sequence[ResolvedJob]) -> Iterator[LoadPlan]:
    from dativo.lower.load_plan import lower
    from dativo.runtime.environment import job_environment

    for job in jobs:
        plan = lower(job)
        environment = job_environment(
            job, plan, root=root, secrets_dir=root / "secrets", environ=os.environ, needs="lake"
        )
        yield plan_here(plan, root=root, variables=environment.variables)
