"""Every name that lowering gives: Meltano plugins, jobs and state ids, and where artefacts lie."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dativo.config.model.resolved import ResolvedJob

MELTANO_ENVIRONMENT = "dativo"
"""The one Meltano environment: what Dativo calls environment is a label of the job and stands in the load plan."""
PLANS = ".dativo/plans"
INDEX = f"{PLANS}/index.json"


def child(plugin: str, job: ResolvedJob) -> str:
    """Meltano plugin of one job: tap-csv--demo--orders."""
    return f"{plugin}--{job.tenant}--{job.name}"


def state_id(job: ResolvedJob) -> str:
    """What Meltano calls the pipe of one job when it asks the state backend."""
    return f"{MELTANO_ENVIRONMENT}:{child(job.source.plugin.name, job)}-to-{child(job.target.plugin.name, job)}"


def plan_path(job: ResolvedJob) -> str:
    """Project-relative path of the load plan that `dativo compile` writes."""
    return f"{PLANS}/{job.tenant}/{job.name}.json"


def singer_catalog_path(job: ResolvedJob) -> str:
    """Project-relative path of the Singer catalog, beside the load plan."""
    return f"{PLANS}/{job.tenant}/{job.name}.catalog.json"


def state_dir(job: ResolvedJob) -> str:
    """Project-relative directory of mirror, run reports and lock."""
    return f"state/{job.tenant}/{job.name}"


def meltano_jobs(jobs: Iterable[ResolvedJob]) -> dict[tuple[str, str], str]:
    """Meltano job of each (tenant, job): <tenant>-<job>, with a second dash where two would share a name
    (a-b/c and a/b-c)."""
    keys = [(job.tenant, job.name) for job in jobs]
    taken = Counter(f"{tenant}-{name}" for tenant, name in keys)
    return {(t, n): f"{t}-{n}" if taken[f"{t}-{n}"] == 1 else f"{t}--{n}" for t, n in keys}
