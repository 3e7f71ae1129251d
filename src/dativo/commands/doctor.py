"""`dativo doctor`: everything that can be wrong around a run, each with its remedy."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from dativo.commands.output import print_json
from dativo.errors import DativoError
from dativo.runtime import probes
from dativo.runtime.discovery import Discovery
from dativo.runtime.lake_access import catalog_here, lake_problems
from dativo.runtime.plugins import is_installed
from dativo.runtime.private_directory import private_directory
from dativo.runtime.probes import Probe
from target_iceberg.run_report import new_run_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from dativo.runtime.environment import JobEnvironment
    from target_iceberg.load_plan import LakeCatalog

_DATABASE_TIMEOUT_S = 150
"""A little more than a tap asks a database again that does not answer as it should."""
_MARK = {
    "ok": click.style("✓", fg="green"),
    "warning": click.style("!", fg="yellow"),
    "problem": click.style("✗", fg="red"),
}


def doctor(paths: Sequence[Path], *, secrets_dir: Path | None, output_format: str) -> int:
    """Print all probes; exit 1 when one found a problem."""
    from dativo.commands.loading import load

    loaded = load(paths)
    root = loaded.root
    found = list(probes.environment_probes(root))
    errors = [f for f in loaded.findings if f.severity == "error"]
    found += [Probe(f.place, "problem", f.problem, f.remedy) for f in errors]
    if not errors:
        found.append(Probe("configuration", "ok", f"{len(loaded.jobs)} jobs are valid"))
    found += _job_probes(loaded.jobs, root, (secrets_dir or root / "secrets").absolute())
    _print(found, output_format)
    return 1 if any(p.result == "problem" for p in found) else 0


def _job_probes(jobs: Sequence[ResolvedJob], root: Path, secrets_dir: Path) -> Iterator[Probe]:
    plugins = {p.name: p for job in jobs for p in (job.source.plugin, job.target.plugin)}
    yield from (probes.plugin_probe(p, root) for p in plugins.values())
    yield from probes.secret_probes(secrets_dir, sorted({job.tenant for job in jobs}))
    for job in jobs:
        yield from _one_job(job, root, secrets_dir)


def _one_job(job: ResolvedJob, root: Path, secrets_dir: Path) -> Iterator[Probe]:
    from dativo.lower.load_plan import lower
    from dativo.runtime.environment import job_environment

    label = f"{job.tenant}/{job.name}"
    try:
        environment = job_environment(job, lower(job), root=root, secrets_dir=secrets_dir, environ=os.environ)
    except DativoError as problem:
        yield Probe(label, "problem", problem.message, problem.remedy)
        return
    variables = environment.variables
    addresses = sorted(set(probes.lake_addresses(job, variables)))
    sources = list(probes.source_addresses(job, variables))
    refused = set()
    for address in (*addresses, *sources):
        refusal = probes.refusal(address)
        if refusal is not None:
            refused.add(address)
            yield Probe(f"{label} {address}", "problem", refusal, "start the service, or correct its address")
        else:
            yield Probe(f"{label} {address}", "ok", "answers")
    if job.source.connector_type.category == "database" and refused.isdisjoint(sources):
        yield from _database(job, environment, root)
    for address in probes.nessie_addresses(job, variables):
        version = probes.nessie_version(address)
        if (problem_of_age := probes.too_old(version)) is not None:
            yield Probe(f"{label} Nessie", "warning", problem_of_age, "upgrade the server")
        elif version is not None:
            yield Probe(f"{label} Nessie", "ok", f"version {'.'.join(map(str, version))}")
    if refused.isdisjoint(addresses):
        yield _storage(label, catalog_here(lower(job), root=root, variables=variables))


def _database(job: ResolvedJob, environment: JobEnvironment, root: Path) -> Iterator[Probe]:
    """Whether the job's database lets it in and shows it what it names; the tap knows."""
    if not is_installed(job.source.plugin, root):
        return  # which has been told
    label = f"{job.tenant}/{job.name} {job.source.type}"
    try:
        with private_directory(new_run_id(), os.environ) as place:
            catalog = Discovery(job, environment, root, place).catalog(_DATABASE_TIMEOUT_S)
    except DativoError as problem:
        yield Probe(label, "problem", problem.message, "the message says what refuses; mend it there")
        return
    n = len(catalog.get("streams", []))
    yield Probe(label, "ok", f"lets in; {'its table' if n == 1 else f'all {n} tables'} of the job can be read")


def _storage(label: str, catalog: LakeCatalog) -> Probe:
    """An object written, read and deleted where the job's tables lie."""
    from target_iceberg.lake import probe_storage

    try:
        with lake_problems():
            place = probe_storage(catalog)
    except DativoError as problem:
        return Probe(f"{label} storage", "problem", problem.message, "the message says what refuses; mend it there")
    return Probe(
        f"{label} storage", "ok", f"{place} can be written, read and cleaned" if place else "the first run makes it"
    )


def _print(found: Sequence[Probe], output_format: str) -> None:
    if output_format == "json":
        print_json([{"what": p.what, "result": p.result, "detail": p.detail, "remedy": p.remedy} for p in found])
        return
    for probe in found:
        click.echo(f"{_MARK[probe.result]} {probe.what}: {probe.detail}")
        if probe.remedy and probe.result != "ok":
            click.echo(f"    {probe.remedy}")
