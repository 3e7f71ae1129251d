"""What meltano.yml holds besides jobs: base plugins, as recipes describe them, and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dativo.config.resolve import Resolver
from dativo.config.schedules import load_runner
from dativo.lower.meltano_yml import BasePlugin, Schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dativo.config.diagnostics import Finding
    from dativo.config.model.base import Role
    from dativo.config.model.resolved import ResolvedJob
    from dativo.config.project import Project


def base_plugins(project: Project, jobs: Sequence[ResolvedJob], role: Role) -> list[BasePlugin]:
    """One base per plugin that the jobs use, by name.

    Where several recipes share a plugin, the one that is called like its connector type speaks for it.
    """
    resolver = Resolver(project)
    files = resolver.connectors.names(role)
    ends = {(end.connector, end.type): end for end in (j.source if role == "source" else j.target for j in jobs)}
    bases: dict[str, BasePlugin] = {}
    for (connector, kind), end in sorted(ends.items(), key=lambda item: (item[0][0] != item[0][1], item[0])):
        if end.plugin.name in bases:
            continue
        findings: list[Finding] = []
        recipe = resolver.connectors.load(files[connector], findings) if connector in files else None
        if recipe is None or recipe.recipe.type != kind:
            bases[end.plugin.name] = BasePlugin(plugin=end.plugin)
            continue
        base = resolver.base(recipe, role, findings)
        plugin = base.plugin if base.plugin.name == end.plugin.name else end.plugin
        bases[end.plugin.name] = BasePlugin(plugin=plugin, settings=base.settings, secrets=base.secrets)
    return [bases[name] for name in sorted(bases)]


def schedules(project: Project, jobs: Sequence[ResolvedJob], findings: list[Finding]) -> list[Schedule]:
    """Enabled cron schedules of configs/runner.yaml; Meltano knows no others, and no time zones."""
    by_path = {job.path: job for job in jobs}
    found = []
    for schedule in load_runner(project, findings).schedules:
        job = by_path.get(schedule.job_path)
        if job is not None and schedule.enabled and schedule.cron is not None:
            found.append(Schedule(name=schedule.name, tenant=job.tenant, job=job.name, cron=schedule.cron))
    return found
