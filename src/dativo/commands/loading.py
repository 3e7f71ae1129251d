"""What every command begins with: the project around the working directory, and the jobs that it is about."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dativo.config.contracts import Contracts
from dativo.config.diagnostics import did_you_mean, has_errors, listed
from dativo.config.drafts import read_drafts, tenant_of_path
from dativo.config.model.contract import Contract
from dativo.config.project import Project
from dativo.config.report import print_findings
from dativo.config.resolve import Resolver, load_jobs
from dativo.errors import DativoError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dativo.config.contracts import Wanted
    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.model.resolved import DeploymentMode, ResolvedJob
    from dativo.config.yamlio import Document

_OF_CONTRACTS = ("DTV04", "DTV05", "DTV062", "DTV063", "DTV064", "DTV066", "DTV067", "DTV08")
"""Findings that have no meaning while a job's contract is yet to be made."""


class InvalidConfiguration(DativoError):  # noqa: N818  it carries findings, which are the errors
    """Files have error findings; the message is the listing of all."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        text = io.StringIO()
        print_findings(findings, "text", text)
        super().__init__(f"the configuration is not valid\n{text.getvalue().rstrip()}")
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Jobs of one project."""

    project: Project
    jobs: list[ResolvedJob]
    findings: list[Finding] = field(default_factory=list)

    @property
    def root(self) -> Path:
        """The project's root."""
        return self.project.root


def load(
    paths: Iterable[Path],
    *,
    tenant: str | None = None,
    job: str | None = None,
    mode: DeploymentMode = "self_hosted",
) -> Loaded:
    """Jobs and findings; jobs with errors are not among the jobs."""
    project = Project.discover()
    jobs, findings = load_jobs(project, paths, tenant=tenant, job=job, mode=mode)
    return Loaded(project, jobs, findings)


def load_or_refuse(
    paths: Iterable[Path],
    *,
    tenant: str | None = None,
    job: str | None = None,
    mode: DeploymentMode = "self_hosted",
) -> Loaded:
    """Jobs, all of them valid.

    Raises:
        InvalidConfiguration: lists all findings of all files.
    """
    loaded = load(paths, tenant=tenant, job=job, mode=mode)
    if has_errors(loaded.findings):
        raise InvalidConfiguration(loaded.findings)
    if not loaded.jobs:
        raise _nothing(loaded.project, tenant, job)
    return loaded


def load_or_tell(paths: Iterable[Path], *, tenant: str | None = None, job: str | None = None) -> Loaded:
    """The valid jobs, for commands that only look: a mistake in one file does not hide the tables of the others.

    Raises:
        InvalidConfiguration: no job is valid; lists all findings.
    """
    loaded = load(paths, tenant=tenant, job=job)
    errors = [f for f in loaded.findings if f.severity == "error"]
    if errors and not loaded.jobs:
        raise InvalidConfiguration(loaded.findings)
    if not loaded.jobs:
        raise _nothing(loaded.project, tenant, job)
    if errors:
        files = len({f.file for f in errors})
        what = "1 file has" if files == 1 else f"{files} files have"
        click.echo(f"{what} errors and their jobs are left out; all of them: dativo validate", err=True)
    return loaded


def _nothing(project: Project, tenant: str | None, job: str | None) -> DativoError:
    """No job is left: most likely a tenant or a job is called otherwise."""
    files = project.job_files((), [])
    for word, kind, known in (
        (tenant, "tenant", {tenant_of_path(project.shown(f)) or "" for f in files} - {""}),
        (job, "job", {f.stem for f in files}),
    ):
        if word is not None and word not in known:
            return DativoError(f"no {kind} '{word}'{did_you_mean(word, known)}", f"there are: {listed(known)}")
    return DativoError("there is no such job", "see all with: dativo status")


def load_one(word: str) -> tuple[Loaded, ResolvedJob]:
    """The job that a word means: a job file, or tenant/job.

    Raises:
        DativoError: there is none.
    """
    paths, tenant, job = _meant(word)
    loaded = load_or_refuse(paths, tenant=tenant, job=job)
    if len(loaded.jobs) != 1:
        labels = ", ".join(f"{j.tenant}/{j.name}" for j in loaded.jobs)
        raise DativoError(f"{word}: not one job", f"name one of: {labels or 'there are none'}")
    return loaded, loaded.jobs[0]


def load_source(word: str) -> tuple[Path, ResolvedJob]:
    """The same while contracts are missing: those that are not found are empty.

    Raises:
        DativoError: there is no such job, or it has other errors.
    """
    paths, tenant, job = _meant(word)
    project = Project.discover()
    findings: list[Finding] = []
    resolver = Resolver(project)
    resolver.contracts = _AnyContract(project)
    resolver.tolerated = _OF_CONTRACTS
    drafts = read_drafts(project, paths, findings, tenant=tenant, job=job)
    jobs = [r for r in (resolver.resolve(d, findings) for d in drafts) if r is not None]
    others = [f for f in findings if not f.code.startswith(_OF_CONTRACTS)]
    if has_errors(others):
        raise InvalidConfiguration(others)
    if len(jobs) != 1:
        raise DativoError(f"{word}: not one job", "name one job file, or tenant/job")
    return project.root, jobs[0]


def _meant(word: str) -> tuple[list[Path], str | None, str | None]:
    path = Path(word)
    if path.suffix in (".yaml", ".yml"):
        return [path], None, None
    tenant, slash, job = word.partition("/")
    return ([], tenant, job) if slash else ([], None, tenant)


class _AnyContract(Contracts):
    """Contracts of which none is missing."""

    is_provisional = True

    def by_reference(
        self,
        reference: str,  # noqa: ARG002  the signature of the class
        wanted: Wanted,
        job: Document,
        place: tuple[PathPart, ...],
        findings: list[Finding],
    ) -> Contract | None:
        return self.by_word(wanted, job, place, findings)

    def by_word(
        self,
        wanted: Wanted,
        job: Document,
        place: tuple[PathPart, ...],  # noqa: ARG002
        findings: list[Finding],  # noqa: ARG002
    ) -> Contract | None:
        return Contract(
            path=job.path,
            file=job.file,
            spelling="odcs",
            name=wanted.word.partition("@")[0],
            version="0",
            object=wanted.word,
        )
