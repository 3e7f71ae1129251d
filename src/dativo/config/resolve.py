"""Names -> objects: job files become resolved jobs, or findings.

    project = Project.discover()
    jobs, findings = load_jobs(project, ["jobs/acme"], mode="cloud")

A job with an error finding is not among the jobs. Findings of files that jobs share (recipes, contracts) are listed once.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dativo.config import objects
from dativo.config.cascade import cascade, deep_merge
from dativo.config.check_model import check_model
from dativo.config.connectors import Connectors
from dativo.config.contracts import Contracts
from dativo.config.diagnostics import Finding, has_errors, in_order
from dativo.config.drafts import read_drafts
from dativo.config.job_case import JobCase
from dativo.config.lints import JOB_LINTS, WITHOUT_CURSOR
from dativo.config.model.connection import CONNECTION_GROUPS, TargetConnection
from dativo.config.model.resolved import Incremental, Logging, ResolvedJob, Retry, Source, Target
from dativo.config.plugins import choose, selection_setting, source_settings
from dativo.config.policies import applied, load_policy, policy_broken, unmasked_fields

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dativo.config.connectors import LoadedRecipe
    from dativo.config.drafts import Draft
    from dativo.config.model.base import Role
    from dativo.config.model.policy import Policy
    from dativo.config.model.resolved import DeploymentMode, Plugin, Secret
    from dativo.config.project import Project

DEFAULT_ENVIRONMENT = "dev"
MAX_SLOT_NAME = 63


def load_jobs(
    project: Project,
    paths: Iterable[Path] = (),
    *,
    tenant: str | None = None,
    job: str | None = None,
    mode: DeploymentMode = "self_hosted",
) -> tuple[list[ResolvedJob], list[Finding]]:
    """Resolve all jobs in files and directories (default: jobs/ and configs/jobs/), ordered by tenant and name."""
    findings: list[Finding] = []
    resolver = Resolver(project, mode)
    drafts = read_drafts(project, paths, findings, tenant=tenant, job=job)
    resolved = [r for r in (resolver.resolve(d, findings) for d in drafts) if r is not None]
    return sorted(resolved, key=lambda j: (j.tenant, j.name)), in_order(findings)


@dataclass(frozen=True, slots=True)
class BaseConnector:
    """A recipe by itself, as it serves every job that names it."""

    name: str
    role: Role
    plugin: Plugin
    settings: dict[str, Any]
    """Plugin settings without secrets and without any job's selection."""
    secrets: tuple[Secret, ...]


class Resolver:
    """Resolves jobs of one project; recipes and contracts are read once for all of them."""

    def __init__(self, project: Project, mode: DeploymentMode = "self_hosted") -> None:
        self.project = project
        self.mode = mode
        self.connectors = Connectors(project)
        self.contracts = Contracts(project)
        self.tolerated: tuple[str, ...] = ()
        """Beginnings of lint codes that say nothing yet, e.g. while a contract is still to be inferred."""
        self._policy: tuple[Policy, list[Finding]] | None = None
        self._dumps: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}

    def resolve(self, draft: Draft, findings: list[Finding]) -> ResolvedJob | None:
        """One job, or None and at least one error finding."""
        own: list[Finding] = []
        job, document = draft.job, draft.document
        recipes = {
            "source": self.connectors.find("source", document, job.source_connector, job.source_connector_path, own),
            "target": self.connectors.find("target", document, job.target_connector, job.target_connector_path, own),
        }
        source = self._source(draft, recipes["source"], own) if recipes["source"] else None
        target = self._target(draft, recipes["target"], own) if recipes["target"] else None
        resolved = _job(draft, source, target) if source and target else None
        policy = self.policy(own)
        if resolved is not None:
            resolved = applied(policy, resolved)
        case = JobCase(self.project, draft, resolved, recipes["source"], recipes["target"], self.mode)
        for lint in JOB_LINTS.values():
            own += [f for f in lint(case) if not f.code.startswith(self.tolerated)]
        of_policy = (*policy_broken(policy, case), *unmasked_fields(policy, case))
        own += [f for f in of_policy if not f.code.startswith(self.tolerated)]
        findings += [f for f in own if f.file != document.file or not f.path.startswith(draft.left_out)]
        return resolved if draft.is_sound and not has_errors(own) else None

    def policy(self, findings: list[Finding]) -> Policy:
        """The project's policy; findings of its file make every job unsound, because masks might be among them."""
        if self._policy is None:
            found: list[Finding] = []
            self._policy = load_policy(self.project, found), found
        findings += self._policy[1]
        return self._policy[0]

    def base(self, recipe: LoadedRecipe, role: Role, findings: list[Finding]) -> BaseConnector:
        """What a recipe says without any job."""
        values = cascade(role, *self._plain(recipe), {})
        chosen = choose(recipe, values, None, role, findings)
        settings = chosen.options
        if role == "source":
            settings = source_settings(self.project, chosen, values, recipe.connector_type, {})
        return BaseConnector(recipe.name, role, chosen.plugin, settings, chosen.secrets)

    def _plain(self, recipe: LoadedRecipe) -> tuple[dict[str, Any], dict[str, Any]]:
        """Registry entry and recipe as plain data for the cascade."""
        key = id(recipe)
        if key not in self._dumps:
            self._dumps[key] = recipe.connector_type.model_dump(), recipe.document.data
        return self._dumps[key]

    def _source(self, draft: Draft, recipe: LoadedRecipe, findings: list[Finding]) -> Source | None:
        values = cascade("source", *self._plain(recipe), draft.document.data)
        values["connection"] = _unwrapped(values["connection"], recipe)
        chosen = choose(recipe, values, draft.document, "source", findings)
        facts = {"tenant": draft.tenant, "environment": draft.job.environment or DEFAULT_ENVIRONMENT}
        if values["strategy"] == "log_based":
            facts["replication_slot"] = slot_name(draft.tenant, draft.name)
        settings = source_settings(self.project, chosen, values, recipe.connector_type, facts)
        entries = objects.entries(draft, recipe, self.contracts, findings)
        if entries is None:
            return None
        incremental = Incremental(
            strategy=values["strategy"],
            cursor_field=values["cursor_field"],
            detects_deletes=values["detect_deletes"] is not None,
            lookback=_lookback(values),
        )
        found = objects.with_contracts(
            draft, entries, recipe, self.contracts, findings,
            project=self.project, cursor_field=_cursor(incremental),
        )  # fmt: skip
        if chosen.is_own:
            for entry in entries:
                entry.setdefault("cursor_field", incremental.cursor_field)
            tables = [e for e in entries if "sql" not in e]
            settings |= selection_setting(recipe.connector_type, tables, self.project) if tables else {}
            if self.contracts.is_provisional and draft.job.source.exclude:
                settings["exclude"] = draft.job.source.exclude  # patterns are still the tap's to resolve
            queries = [{k: v for k, v in e.items() if k not in ("object", "_place")} for e in entries if "sql" in e]
            settings |= {"queries": queries} if queries else {}
        return Source(
            connector=recipe.name,
            type=recipe.recipe.type,
            connector_type=recipe.connector_type,
            plugin=chosen.plugin,
            settings=settings,
            secrets=chosen.secrets,
            objects=tuple(found),
            incremental=incremental,
            identity={k: settings[k] for k in recipe.connector_type.identity if k in settings},
        )

    def _target(self, draft: Draft, recipe: LoadedRecipe, findings: list[Finding]) -> Target | None:
        if recipe.document.data.get("connection_template"):
            check_model(TargetConnection, recipe.document, findings, at=("connection_template",))
        values = cascade("target", *self._plain(recipe), {"target": _grouped_target(draft, recipe)})
        chosen = choose(recipe, values, draft.document, "target", findings)
        said = draft.job.target
        connection = _grouped(values["connection"], recipe)
        for secret in chosen.secrets:
            parts = secret.setting.split(".")
            if parts[0] == "connection":
                connection = deep_merge(connection, _nested(parts[1:], f"${{{secret.name}}}"))
        return Target(
            connector=recipe.name,
            type=recipe.recipe.type,
            connector_type=recipe.connector_type,
            plugin=chosen.plugin,
            settings=chosen.options,
            secrets=chosen.secrets,
            branch=said.branch,
            warehouse=said.warehouse,
            namespace=said.namespace,
            table=said.table,
            connection=connection,
            target_file_size_mb=said.parquet_target_size_mb,
            file_format=said.file_format or _raw_documents(said.markdown_kv_storage),
            path_pattern=said.path_pattern or _path_pattern(said.markdown_kv_storage),
            write_mode=said.write_mode,
            evolution=said.mode,
            allow_empty=said.allow_empty,
            adopt=said.adopt,
            at_least_once=said.at_least_once,
            publish_every_s=said.publish_every_s,
            add_record_metadata=said.add_record_metadata,
            hard_delete=said.hard_delete,
            content_digest=said.content_digest,
        )


def _job(draft: Draft, source: Source, target: Target) -> ResolvedJob:
    job = draft.job
    rows, percent = None, None
    if isinstance(job.max_rejected, int):
        rows = job.max_rejected
    elif job.max_rejected is not None:
        percent = float(job.max_rejected.rstrip("% "))
    return ResolvedJob(
        path=draft.document.path,
        tenant=draft.tenant,
        name=draft.name,
        environment=job.environment or DEFAULT_ENVIRONMENT,
        source=source,
        target=target,
        violations=job.schema_validation_mode,
        max_rejected_rows=rows,
        max_rejected_percent=percent,
        retry=_retry(draft),
        logging=Logging(redaction=job.logging.redaction, level=job.logging.level) if job.logging else Logging(),
        state_path=job.source.incremental.state_path if job.source.incremental else None,
        finops=job.finops,
        governance=job.governance_overrides.model_dump(exclude_none=True) if job.governance_overrides else {},
        notices=_notices(draft),
    )


def _notices(draft: Draft) -> tuple[str, ...]:
    if draft.job.catalog is None:
        return ()
    return ("catalog: metadata catalogs are not supported yet; the key is accepted and does nothing",)


def _retry(draft: Draft) -> Retry:
    said = draft.job.retry_config
    if said is None:
        return Retry()
    return Retry(
        max_retries=said.max_retries,
        initial_delay_s=said.initial_delay_seconds,
        max_delay_s=said.max_delay_seconds,
        backoff_multiplier=said.backoff_multiplier,
        exit_codes=tuple(said.retryable_exit_codes),
        error_patterns=tuple(said.retryable_error_patterns),
    )


def slot_name(tenant: str, job: str) -> str:
    """Of a job, in the letters and the length that PostgreSQL allows; names that would be cut or mixed up get a digest."""
    plain = f"dativo_{tenant}_{job}"
    name = re.sub(r"[^a-z0-9_]", "_", plain.lower())
    if name == plain and len(name) <= MAX_SLOT_NAME:
        return name
    digest = hashlib.sha256(plain.encode()).hexdigest()[:8]
    return f"{name[: MAX_SLOT_NAME - 9]}_{digest}"


def _lookback(values: dict[str, Any]) -> str | None:
    names = ("lookback_days", "lookback_hours", "lookback_seconds")
    return ", ".join(f"{name}: {values[name]}" for name in names if values[name]) or None


_STRATEGY_CURSORS = {"created": "created", "updated": "updated", "updated_at": "updated_at"}


def _cursor(incremental: Incremental) -> str | None:
    """The cursor of objects that name none: the cascade's, else the one that the strategy's own name says."""
    if incremental.strategy in WITHOUT_CURSOR:
        return None
    return incremental.cursor_field or _STRATEGY_CURSORS.get(incremental.strategy)


def _unwrapped(connection: dict[str, Any], recipe: LoadedRecipe) -> dict[str, Any]:
    """`connection: {postgres: {host: ..}}` means `connection: {host: ..}`."""
    inner = connection.get(recipe.recipe.type)
    return (
        deep_merge({k: v for k, v in connection.items() if k != recipe.recipe.type}, inner)
        if isinstance(inner, dict)
        else connection
    )


def _grouped_target(draft: Draft, recipe: LoadedRecipe) -> dict[str, Any]:
    target = draft.document.data.get("target") or {}
    return {**target, "connection": _grouped(target.get("connection") or {}, recipe)}


def _grouped(connection: dict[str, Any], recipe: LoadedRecipe) -> dict[str, Any]:
    """Flat {endpoint, bucket, prefix} belongs to the object store."""
    store = "azure" if recipe.recipe.type == "azure_blob" else "s3"
    flat = {k: v for k, v in connection.items() if k not in CONNECTION_GROUPS}
    groups = {k: v for k, v in connection.items() if k in CONNECTION_GROUPS}
    return deep_merge(groups, {store: flat}) if flat else groups


def _nested(parts: list[str], value: str) -> dict[str, Any]:
    return {parts[0]: _nested(parts[1:], value)} if len(parts) > 1 else {parts[0]: value}


def _raw_documents(storage: Any) -> str | None:
    """`markdown_kv_storage: raw_file`, or `{mode: raw_file}`, is another way to ask for documents."""
    mode = storage.get("mode") or storage.get("storage") if isinstance(storage, dict) else storage
    return "markdown_kv" if mode == "raw_file" else None


def _path_pattern(storage: Any) -> str | None:
    found = storage.get("path_pattern") if isinstance(storage, dict) else None
    return found if isinstance(found, str) else None
