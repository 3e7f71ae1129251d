"""Resolved jobs -> meltano.yml: the root one with all jobs, and the private one of a run."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dativo.lower import names, yaml_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dativo.config.model.resolved import Plugin, ResolvedJob, Secret

HEADER = """\
# Compiled by `dativo compile` from jobs/, connectors/, registry/ and configs/; edits are lost with the next compile.
# It is for Meltano by hand (meltano run <job>, meltano invoke, meltano schedule list); `dativo run` renders its own.
"""
BUFFER_SIZE_BYTES = 32 << 20
"""Half of it is the longest line that Meltano passes on."""
LAUNCHER = "dativo-tap"
TAP_ENV = "DATIVO_TAP"
_MELTANO_VARIABLE = re.compile(r"\$(?:\{\w+\}|[A-Z][A-Z0-9_]*)")


@dataclass(frozen=True, kw_only=True, slots=True)
class BasePlugin:
    """A plugin as the recipe alone describes it; the jobs' plugins inherit from it."""

    plugin: Plugin
    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Sequence[Secret] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """One line of configs/runner.yaml that Meltano can know: an enabled cron schedule."""

    name: str
    tenant: str
    job: str
    cron: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the artefacts lie, as the rendered project names them."""

    state_backend: str
    load_plan: Callable[[ResolvedJob], str] = names.plan_path
    singer_catalog: Callable[[ResolvedJob], str] = names.singer_catalog_path
    executable: Callable[[Plugin], str] = lambda plugin: plugin.executable
    """Isolated plugins: the path in their own environment."""
    text: Callable[[str], str] = lambda text: escape(text, keep_braces=True)
    """What is done to each text of a setting that is no secret: here `${NAME}` stays for Meltano to expand."""


ROOT = Places(state_backend=f"dativo:///{names.INDEX}")


def project(
    jobs: Sequence[ResolvedJob],
    *,
    taps: Iterable[BasePlugin],
    targets: Iterable[BasePlugin],
    schedules: Iterable[Schedule] = (),
    places: Places = ROOT,
) -> dict[str, Any]:
    """One Meltano project as plain data, keys in the order in which they are written."""
    job_names = names.meltano_jobs(jobs)
    tap_bases, target_bases = list(taps), list(targets)
    bases = {base.plugin.name: base.plugin for base in (*tap_bases, *target_bases)}
    return {
        "project_id": "dativo",
        "send_anonymous_usage_stats": False,
        "auto_install": False,
        "default_environment": names.MELTANO_ENVIRONMENT,
        "environments": [{"name": names.MELTANO_ENVIRONMENT}],
        "cli": {"disable_version_check": True},
        "ff": {"strict_env_var_mode": True},
        "elt": {"buffer_size": BUFFER_SIZE_BYTES},
        "state_backend": {"uri": places.state_backend},
        "plugins": {
            "extractors": [*(_tap(t, places) for t in tap_bases), *(_tap_child(j, bases, places) for j in jobs)],
            "loaders": [*(_target(t, places) for t in target_bases), *(_target_child(j, bases, places) for j in jobs)],
        },
        "jobs": [{"name": job_names[j.tenant, j.name], "tasks": [_pair(j)]} for j in jobs],
        "schedules": [
            {"name": s.name, "job": job_names[s.tenant, s.job], "interval": s.cron}
            for s in schedules
            if (s.tenant, s.job) in job_names
        ],
    }


def render(meltano_project: Mapping[str, Any]) -> bytes:
    """Bytes of a meltano.yml."""
    return (HEADER + yaml_text.dump(meltano_project)).encode()


def _pair(job: ResolvedJob) -> str:
    return f"{names.child(job.source.plugin.name, job)} {names.child(job.target.plugin.name, job)}"


def _tap(base: BasePlugin, places: Places) -> dict[str, Any]:
    # The three capabilities always: without them Meltano silently passes neither state nor catalog.
    definition: dict[str, Any] = {
        "name": base.plugin.name,
        "namespace": base.plugin.name.replace("-", "_"),
        "executable": LAUNCHER,
        "capabilities": ["state", "catalog", "discover", "about"],
        **_sensitive(base.secrets, base.plugin),
        "env": {TAP_ENV: places.executable(base.plugin)},
    }
    return {**definition, **_config(base.settings, base.secrets, base.plugin, places)}


def _target(base: BasePlugin, places: Places) -> dict[str, Any]:
    definition: dict[str, Any] = {
        "name": base.plugin.name,
        "namespace": base.plugin.name.replace("-", "_"),
        "executable": places.executable(base.plugin),
        "capabilities": ["about"],
        **_sensitive(base.secrets, base.plugin),
    }
    return {**definition, **_config(base.settings, base.secrets, base.plugin, places)}


def _tap_child(job: ResolvedJob, bases: Mapping[str, Plugin], places: Places) -> dict[str, Any]:
    source = job.source
    settings = {**source.settings, **lane_settings(job)}
    executable = places.executable(source.plugin)
    return {
        "name": names.child(source.plugin.name, job),
        "inherit_from": source.plugin.name,
        **({"env": {TAP_ENV: executable}} if executable != places.executable(bases[source.plugin.name]) else {}),
        "catalog": places.singer_catalog(job),
        **_config(settings, source.secrets, source.plugin, places),
    }


def _target_child(job: ResolvedJob, bases: Mapping[str, Plugin], places: Places) -> dict[str, Any]:
    target = job.target
    settings = {**target.settings, "load_plan": places.load_plan(job)}
    executable = places.executable(target.plugin)
    return {
        "name": names.child(target.plugin.name, job),
        "inherit_from": target.plugin.name,
        **({"executable": executable} if executable != places.executable(bases[target.plugin.name]) else {}),
        # Credentials of the lake reach the target as environment variables that the load plan names.
        "config": _each_text(settings, places.text),
    }


def lane_settings(job: ResolvedJob) -> dict[str, Any]:
    """Arrow batches where both plugins understand them, and records that cannot be shaped as rejects for our target."""
    source, target = job.source, job.target.plugin
    settings: dict[str, Any] = {}
    if source.plugin.accepts_arrow and target.accepts_arrow:
        settings["batch_config"] = {"encoding": {"format": "arrow"}, "storage": {"root": ""}}
    if target.accepts_arrow and "rejects" in (source.connector_type.settings or {}):
        settings["rejects"] = "emit"
    return settings


def _sensitive(secrets: Iterable[Secret], plugin: Plugin) -> dict[str, Any]:
    if plugin.secrets_by_name:
        return {}
    settings = [{"name": s.setting, "sensitive": True} for s in secrets if s.file is None]
    return {"settings": settings} if settings else {}


def _config(
    settings: Mapping[str, Any], secrets: Iterable[Secret], plugin: Plugin, places: Places
) -> dict[str, dict[str, Any]]:
    config = _each_text(settings, places.text)
    for secret in secrets:
        if plugin.secrets_by_name and secret.file is None:
            _set(config, f"{secret.setting}_env", secret.name)
        else:
            _set(config, secret.setting, f"${{{secret.name}}}")
    return {"config": config} if config else {}


def _set(config: dict[str, Any], dotted: str, value: str) -> None:
    *parents, last = dotted.split(".")
    for part in parents:
        config = config.setdefault(part, {})
    config[last] = value


def escape(text: str, *, keep_braces: bool) -> str:
    """Text that Meltano hands on as it stands; with `keep_braces` it still expands `${NAME}`, never a bare `$NAME`."""
    return _MELTANO_VARIABLE.sub(lambda m: m[0] if keep_braces and m[0][1] == "{" else "\\" + m[0], text)


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {k: _each_text(v, change) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_each_text(v, change) for v in value]
    return change(value) if isinstance(value, str) else value
