"""Job files whose tenant and name are known, before anything in them is looked up."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from dativo.config.check_model import check_leniently
from dativo.config.diagnostics import Finding, did_you_mean, has_errors, listed
from dativo.config.model.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dativo.config.project import Project
    from dativo.config.yamlio import Document

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Tenants and jobs are parts of paths, branches, namespaces and Meltano names."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One job file."""

    document: Document
    job: Job
    tenant: str
    name: str
    is_sound: bool
    """False: the file itself has an error finding, so that the job is checked further but never returned."""
    left_out: tuple[str, ...] = ()
    """YAML paths that do not fit the model; what follows from their absence is no finding of its own."""


def read_drafts(
    project: Project,
    paths: Iterable[Path],
    findings: list[Finding],
    *,
    tenant: str | None = None,
    job: str | None = None,
) -> list[Draft]:
    """All jobs in the given files and directories that belong to a tenant and have a name, if these are given."""
    own: list[Finding] = []
    files = project.job_files(paths, own)
    drafts = [d for d in (_read(project, f, findings, tenant, job) for f in files) if d is not None]
    findings += own
    _refuse_twins(drafts, findings)
    chosen = [d for d in drafts if tenant in (None, d.tenant) and job in (None, d.name)]
    if files and not chosen and not (tenant is None and job is None):
        findings.append(_nothing_chosen(project, files, drafts, tenant, job))
    return chosen


def _read(project: Project, path: Path, findings: list[Finding], tenant: str | None, job: str | None) -> Draft | None:
    directory = tenant_of_path(project.shown(path))
    if (tenant is not None and directory not in (None, tenant)) or job not in (None, path.stem):
        # Another tenant's mistakes are not this command's business; a file in no tenant's directory must be read.
        return (
            None if directory is not None or job not in (None, path.stem) else _load(project, path, findings, directory)
        )
    return _load(project, path, findings, directory)


def _load(project: Project, path: Path, findings: list[Finding], directory: str | None) -> Draft | None:
    own: list[Finding] = []
    document = project.load(path, own)
    if document is None:
        findings += own
        return None
    model, document, left_out = check_leniently(Job, document, own)
    findings += own
    if model is None:
        return None
    tenant = model.tenant_id or directory
    if tenant is None:
        remedy = "add tenant_id: <tenant>, or move the file to jobs/<tenant>/"
        findings.append(document.finding("DTV022", ("tenant_id",), "the job does not say whose it is", remedy))
        return None
    if directory is not None and tenant != directory:
        problem = f"tenant_id is '{tenant}', and the file lies in the directory of '{directory}'"
        remedy = f"write tenant_id: {directory}, or move the file to jobs/{tenant}/"
        findings.append(document.finding("DTV023", ("tenant_id",), problem, remedy))
        return None
    names = (("tenant", tenant, ("tenant_id",)), ("job", path.stem, ()))
    unsafe = [(kind, name, place) for kind, name, place in names if not is_safe(name)]
    for kind, name, place in unsafe:
        problem = f"{name!r} cannot be the name of a {kind}: it becomes part of paths, branches and addresses"
        remedy = "use letters, digits, '_', '-' and '.', beginning with a letter or digit, without '..'"
        findings.append(document.finding("DTV024", place, problem, remedy))
    return None if unsafe else Draft(document, model, tenant, path.stem, not has_errors(own), tuple(left_out))


def is_safe(name: str) -> bool:
    """Whether a tenant or job may be called so."""
    return SAFE_NAME.fullmatch(name) is not None and ".." not in name and not name.endswith(".")


def tenant_of_path(shown: str) -> str | None:
    """acme for jobs/acme/crm.yaml: the directory below the last `jobs`; None for a file directly in jobs/, or elsewhere."""
    directories = PurePosixPath(shown).parts[:-1]
    if "jobs" not in directories:
        return None
    below = directories[len(directories) - directories[::-1].index("jobs") :]
    return below[0] if below else None


def _refuse_twins(drafts: Sequence[Draft], findings: list[Finding]) -> None:
    first: dict[tuple[str, str], Draft] = {}
    for draft in drafts:
        # Folded: state and plans lie in directories, and not every file system tells A from a.
        twin = first.setdefault((draft.tenant.lower(), draft.name.lower()), draft)
        if twin is not draft:
            problem = f"{draft.tenant} already has a job '{twin.name}': {twin.document.file}"
            findings.append(draft.document.finding("DTV025", (), problem, "rename one of the two files"))


def _nothing_chosen(
    project: Project, files: Sequence[Path], drafts: Sequence[Draft], tenant: str | None, job: str | None
) -> Finding:
    known = {(tenant_of_path(project.shown(f)), f.stem) for f in files} | {(d.tenant, d.name) for d in drafts}
    tenants = {t for t, _ in known if t is not None}
    if tenant is not None and tenant not in tenants:
        problem = f"no tenant '{tenant}'{did_you_mean(tenant, tenants)}"
        return Finding(code="DTV020", file="jobs", problem=problem, remedy=f"there are {listed(tenants)}")
    names = {name for t, name in known if tenant in (None, t)}
    problem = f"no job '{job}'{did_you_mean(job or '', names)}" if job else f"no valid job of tenant '{tenant}'"
    return Finding(code="DTV020", file="jobs", problem=problem, remedy=f"there are {listed(names)}")
