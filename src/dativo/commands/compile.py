"""`dativo compile`: meltano.yml, and load plan and Singer catalog of every job; a function of the files alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from dativo.config.diagnostics import has_errors
from dativo.lower import emit, load_plan, meltano_yml, names
from dativo.lower.bases import base_plugins, schedules
from dativo.lower.emit import Artefact
from dativo.lower.singer_catalog import singer_catalog
from dativo.runtime.plugins import compiled_executable
from target_iceberg import load_plan as plans

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dativo.commands.loading import Loaded
    from dativo.config.diagnostics import Finding
    from dativo.config.model.resolved import ResolvedJob


def compile_jobs(
    paths: Sequence[Path], *, check: bool, tenant: str | None, job: str | None, output_dir: Path | None
) -> int:
    """Write the artefacts, or with `check` compare them.

    meltano.yml always holds all jobs: with a filter only plans and catalogs are written, unless they go to a directory of
    their own, which then holds a project of the chosen jobs.
    """
    from dativo.commands.loading import load_or_refuse

    loaded = load_or_refuse(paths, tenant=tenant, job=job)
    base = (output_dir or loaded.root).absolute()
    filtered = bool(paths or tenant or job) and not _is_all(paths, loaded.root)
    artefacts = list(job_artefacts(loaded.jobs, base))
    if not filtered or output_dir is not None:
        artefacts = [*project_artefacts(loaded, base), *artefacts]
    if check:
        return _check(artefacts, base)
    changed = emit.write_all(artefacts)
    if not filtered or output_dir is not None:
        changed += remove_stale(base, {a.path for a in artefacts})
    for item in loaded.jobs:
        for notice in (*item.notices, *load_plan.notices(item)):
            click.echo(f"{item.tenant}/{item.name}: {notice}", err=True)
    click.echo(f"compiled {len(loaded.jobs)} {'job' if len(loaded.jobs) == 1 else 'jobs'}; {changed} files changed")
    return 0


def job_artefacts(jobs: Sequence[ResolvedJob], base: Path) -> Iterator[Artefact]:
    """Load plan and Singer catalog of each job."""
    for job in jobs:
        plan = load_plan.lower(job)
        yield Artefact(base / names.plan_path(job), plans.dump(plan))
        catalog = json.dumps(singer_catalog(job, plan), indent=1).encode() + b"\n"
        yield Artefact(base / names.singer_catalog_path(job), catalog)


def project_artefacts(loaded: Loaded, base: Path) -> Iterator[Artefact]:
    """meltano.yml, and the index in which the state backend finds the plan of a state id."""
    places = meltano_yml.Places(state_backend=meltano_yml.ROOT.state_backend, executable=compiled_executable)
    project = meltano_yml.project(
        loaded.jobs,
        taps=base_plugins(loaded.project, loaded.jobs, "source"),
        targets=base_plugins(loaded.project, loaded.jobs, "target"),
        schedules=_schedules(loaded),
        places=places,
    )
    yield Artefact(base / "meltano.yml", meltano_yml.render(project))
    index = {names.state_id(job): names.plan_path(job) for job in loaded.jobs}
    yield Artefact(base / names.INDEX, json.dumps(index, indent=1, sort_keys=True).encode() + b"\n")


def _schedules(loaded: Loaded) -> list[meltano_yml.Schedule]:
    from dativo.commands.loading import InvalidConfiguration

    findings: list[Finding] = []
    found = schedules(loaded.project, loaded.jobs, findings)
    if has_errors(findings):
        raise InvalidConfiguration(findings)
    return found


def remove_stale(base: Path, current: set[Path]) -> int:
    """Remove plans of jobs that are gone; returns how many files."""
    stale = [file for file in (base / names.PLANS).rglob("*.json") if file not in current]
    for file in stale:
        file.unlink()
    return len(stale)


def _is_all(paths: Sequence[Path], root: Path) -> bool:
    return bool(paths) and all(path.resolve() in (root / "jobs", root) for path in paths)


def _check(artefacts: Sequence[Artefact], base: Path) -> int:
    # Plans are no part of the repository: a fresh clone has none, which is not stale.
    if not (base / names.INDEX).exists():
        artefacts = [a for a in artefacts if not a.path.is_relative_to(base / names.PLANS)]
    diffs = emit.differences(artefacts, base=base)
    for diff in diffs:
        click.echo(diff, nl=False)
    if diffs:
        click.echo(f"{len(diffs)} of {len(artefacts)} artefacts are stale; write them: dativo compile jobs/", err=True)
        return 1
    return 0
