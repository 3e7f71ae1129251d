"""`dativo state`: bookmarks as they lie in the lake."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dativo.commands.output import print_json
from dativo.errors import DativoError
from dativo.runtime import mirror
from dativo.runtime.lake_access import lake_problems, plan_here

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from dativo.runtime.environment import Needs
    from target_iceberg.lake import Bookmark
    from target_iceberg.load_plan import LoadPlan


def show(job: str, *, output_format: str) -> int:
    """Print the bookmark of each stream."""
    from target_iceberg.lake import bookmarks_of

    plan = loaded(job).plan
    with lake_problems():
        held = bookmarks_of(plan)
    document = {stream: _as_dict(bookmark) for stream, bookmark in held.items()}
    if output_format == "json":
        print_json(document)
        return 0
    for stream, bookmark in document.items():
        if bookmark is None:
            click.echo(f"{stream}: no bookmark; the next run reads everything")
            continue
        click.echo(f"{stream}: {bookmark['n']} publishes, the last by run {bookmark['run_id']}")
        print_json(bookmark.get("state"))
    return 0


def reset(job: str, *, stream: str | None, assume_yes: bool) -> int:
    """Forget the bookmark of one stream or of all."""
    from target_iceberg.lake import reset as forget

    at = loaded(job)
    plan, resolved, root = at.plan, at.job, at.root
    streams = [s.stream for s in plan.streams]
    if stream is not None and stream not in streams:
        raise DativoError(f"{job}: has no stream {stream}", f"its streams: {', '.join(streams)}")
    which = stream or ", ".join(streams)
    if not assume_yes:
        click.confirm(
            f"Forget the bookmark of {plan.tenant}/{plan.job}: {which}? The next run reads all again", abort=True
        )
    with lake_problems():
        done = forget(plan, stream)
    mirror.forget(resolved, root, None if stream is None else [stream])
    for name, bookmark in done.items():
        click.echo(f"{name}: {'there was nothing to forget' if bookmark is None else 'forgotten'}")
    return 0


@dataclass(frozen=True)
class AtLake:
    """A job and what is needed to work on its tables."""

    plan: LoadPlan
    job: ResolvedJob
    root: Path
    variables: Mapping[str, str]


def loaded(job: str, needs: Needs = "lake") -> AtLake:
    """A job with its lake within reach.

    Raises:
        DativoError: no such job, or something that it names has no value.
    """
    from dativo.commands.loading import load_one
    from dativo.lower.load_plan import lower
    from dativo.runtime.environment import job_environment

    jobs, resolved = load_one(job)
    plan = lower(resolved)
    environment = job_environment(
        resolved, plan, root=jobs.root, secrets_dir=jobs.root / "secrets", environ=os.environ, needs=needs
    )
    here = plan_here(plan, root=jobs.root, variables=environment.variables)
    return AtLake(here, resolved, jobs.root, environment.variables)


def _as_dict(bookmark: Bookmark | None) -> dict[str, Any] | None:
    if bookmark is None:
        return None
    import msgspec

    document: dict[str, Any] = msgspec.to_builtins(bookmark)
    return document
