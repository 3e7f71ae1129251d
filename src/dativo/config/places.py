"""Where a job's rows, state and secrets lie: lints that keep each tenant in places of its own.

What holds `${NAME}` is judged once more when it is expanded, by the same function.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from dativo.config.cascade import get
from dativo.config.project import JOB_DIRECTORIES
from dativo.config.write_mode import file_format, reads_files, write_mode
from target_iceberg import path_pattern

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.job_case import JobCase
    from dativo.config.model.resolved import ResolvedJob, SourceObject
    from dativo.config.project import Project

_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}]*)?\}")
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\%?#*|<>\"^`]")
_KEPT = ("lake", "secrets", "jobs", "assets", "connectors", "registry", "configs", ".dativo", ".git")
"""Directories of a project that no mirror of a state is written to."""


def known_tenants(project: Project) -> set[str]:
    """Tenants that have a directory of jobs."""
    found: set[str] = set()
    for directory in JOB_DIRECTORIES:
        place = project.root / directory
        found |= {p.name for p in place.iterdir() if p.is_dir()} if place.is_dir() else set()
    return found


def path_problem(tenant: str, tenants: Collection[str], path: str) -> str | None:
    """What forbids a job of a tenant to name a path, a prefix or the path of a URI; None: nothing."""
    text = unicodedata.normalize("NFKC", _VARIABLE.sub("x", path))
    bad = _UNSAFE.search(text)
    if bad:
        return f"{path!r} has {bad[0]!r} in it, which other programs read as something else"
    levels = text.strip("/").split("/") if text.strip("/") else []
    if any(level.strip() in ("", ".", "..") or level != level.strip() for level in levels):
        return f"{path!r} is not a plain path: no '..', no '.', no empty level, no blanks around names"
    others = {t.casefold() for t in tenants} - {tenant.casefold()}
    for level in levels:
        if level.casefold() in others:
            return f"{path!r} names the place of another tenant, '{level}'"
    return None


def warehouse_problem(tenant: str, tenants: Collection[str], warehouse: str) -> str | None:
    """The same of a whole place: a URI or a directory."""
    uri = urlsplit(_VARIABLE.sub("x", warehouse)) if "://" in warehouse else None
    if uri is None:
        return path_problem(tenant, tenants, warehouse)
    if not re.fullmatch(r"[\w.-]+", uri.netloc) and uri.scheme != "file":
        return f"{warehouse!r} names no bucket or container"
    if uri.query or uri.fragment:
        return f"{warehouse!r} has a question mark or a hash in it, which other programs read as something else"
    return path_problem(tenant, tenants, uri.path)


def place_missing(case: JobCase) -> Iterator[Finding]:
    """DTV052."""
    job = case.job
    if job is None or job.target.connector_type.category != "object_store" or job.target.warehouse:
        return
    group, word = ("azure", "container") if job.target.type == "azure_blob" else ("s3", "bucket")
    if not (job.target.connection.get(group) or {}).get(word):
        problem = f"the target '{job.target.connector}' does not say where files go"
        remedy = f"add target.connection.{group}.{word}, or {word} to the recipe's connection_template.{group}"
        yield case.document.finding("DTV052", ("target",), problem, remedy)


def place_of_another(case: JobCase) -> Iterator[Finding]:
    """DTV053."""
    job = case.job
    if job is None:
        return
    tenants = known_tenants(case.project)
    remedy = "write a path of letters, digits, '_', '-', '.' and '/' that is this tenant's own"
    for place, text in _places(job):
        judge = warehouse_problem if place == ("target", "warehouse") else path_problem
        if (problem := judge(job.tenant, tenants, text)) is not None:
            yield case.document.finding("DTV053", place, problem, remedy)
    state = job.state_path
    if state is not None and state.strip("/").removeprefix("app/").removeprefix("workspace/").split("/")[0] in _KEPT:
        problem = f"{state!r} lies in a directory that holds something else"
        remedy = f"leave it out, or write state/{job.tenant}/{job.name}/state.json"
        yield case.document.finding("DTV053", ("source", "incremental", "state_path"), problem, remedy)
    if "catalog" in job.target.connection and "__" in job.tenant:
        problem = f"the tenant's name '{job.tenant}' has '__' in it, which ends the tenant's part of a namespace in a shared catalog"
        yield case.document.finding(
            "DTV053", ("tenant_id",), problem, "give the tenant another name, or a catalog of its own"
        )


def _places(job: ResolvedJob) -> Iterator[tuple[tuple[PathPart, ...], str]]:
    if job.target.warehouse and "nessie" not in job.target.connection and "catalog" not in job.target.connection:
        yield ("target", "warehouse"), job.target.warehouse
    for group in ("s3", "azure", "gs"):
        for word in ("bucket", "container", "prefix"):
            text = get(job.target.connection, f"{group}.{word}")
            if isinstance(text, str):
                yield ("target", "connection", group, word), text
    if job.state_path is not None:
        yield ("source", "incremental", "state_path"), _filled(job.state_path, job.tenant)
    for secret in (*job.source.secrets, *job.target.secrets):
        if secret.file is not None:
            yield ("source_connector",), _filled(secret.file, job.tenant)


def _filled(path: str, tenant: str) -> str:
    return path.replace("{tenant}", tenant).replace("{tenant_id}", tenant)


def format_refused(case: JobCase) -> Iterator[Finding]:
    """DTV069."""
    job = case.job
    if job is None:
        return
    for item in job.source.objects:
        said = file_format(job, item.contract)
        place: tuple[PathPart, ...] = ("target", "file_format") if job.target.file_format else case.object_place(item)
        offered = job.target.connector_type.file_formats
        if said not in offered:
            problem = f"{job.target.type} does not write files of the format '{said}'"
            yield case.document.finding("DTV069", place, problem, f"use one of: {', '.join(offered)}")
            continue
        pattern = job.target.path_pattern
        if said == "parquet":
            if pattern is not None:
                problem = "Parquet files lie by partition, not by path_pattern"
                remedy = (
                    "remove it and use partitioning in the contract, or set file_format to csv, jsonl or markdown_kv"
                )
                yield case.document.finding("DTV069", ("target", "path_pattern"), problem, remedy)
            continue
        yield from _pattern_findings(case, job, item, pattern or path_pattern.DEFAULTS[said], said)


def _pattern_findings(
    case: JobCase, job: ResolvedJob, item: SourceObject, pattern: str, said: str
) -> Iterator[Finding]:
    contract = item.contract
    where: tuple[PathPart, ...] = ("target", "path_pattern") if job.target.path_pattern else ("target", "file_format")
    found = path_pattern.problems(pattern, contract.columns, contract.key)
    for problem in found:
        remedy = f"use columns of {contract.file}, {{doc_id}}, {{date}}, {{timestamp}}, {{run_id}} or {{part}}"
        yield case.document.finding("DTV069", where, f"path_pattern {pattern!r}: {problem}", remedy)
    if found:
        return
    mode, per_record = write_mode(job, contract), path_pattern.is_per_record(pattern, contract.columns, contract.key)
    if mode == "upsert" and not per_record:
        problem = f"objects of the format '{said}' hold many rows, of which none can be replaced"
        remedy = "write one object per row, with a column or {doc_id} in path_pattern; or use write_mode append or replace, or parquet"
        yield case.document.finding("DTV069", where, problem, remedy)
    if mode == "append" and reads_files(job) and not job.target.at_least_once:
        problem = f"a file that changes is read again, and its earlier rows cannot be taken out of objects of the format '{said}'"
        remedy = "use parquet, a full refresh, or accept doubles with target.at_least_once: true"
        yield case.document.finding("DTV069", where, problem, remedy)
    if job.target.hard_delete:
        problem = f"rows cannot be deleted from objects of the format '{said}'"
        yield case.document.finding(
            "DTV069", ("target", "hard_delete"), problem, "remove target.hard_delete, or use parquet"
        )
