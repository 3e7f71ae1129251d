"""`dativo validate`: every file that was asked for, and all that it refers to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dativo.config.check_model import check_model
from dativo.config.connectors import ROLE_DIRECTORIES
from dativo.config.contracts import DIRECTORY as CONTRACTS
from dativo.config.diagnostics import Finding, in_order
from dativo.config.drafts import read_drafts
from dativo.config.lints import contract_names, inline_secrets
from dativo.config.model.policy import Policy
from dativo.config.project import JOB_DIRECTORIES, POLICY_FILE, REGISTRY_FILE, RUNNER_FILE, yaml_files
from dativo.config.resolve import Resolver
from dativo.config.schedules import load_runner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from dativo.config.model.base import Role
    from dativo.config.model.resolved import DeploymentMode
    from dativo.config.project import Project


@dataclass(slots=True)
class Checked:
    """What was looked at and what was found."""

    findings: list[Finding]
    counts: Counter[str] = field(default_factory=Counter)
    """Kind of file -> how many: job, contract, recipe, registry, runner, policy."""


def check(project: Project, paths: Iterable[Path] = (), *, mode: DeploymentMode = "self_hosted") -> Checked:
    """Check files and directories; without any, the whole project."""
    return _Checker(project, mode).run([project.asked(p) for p in paths])


class _Checker:
    def __init__(self, project: Project, mode: DeploymentMode) -> None:
        self.project = project
        self.resolver = Resolver(project, mode)
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.kinds: dict[str, Callable[[Path], None]] = {
            "registry": self.registry,
            "recipe": self.recipe,
            "contract": self.contract,
            "runner": self.runner,
            "policy": self.policy,
        }

    def run(self, paths: list[Path]) -> Checked:
        files: dict[Path, str] = {}
        for path in paths or [self.project.root]:
            if path == self.project.root:
                files |= self.whole_project()
            elif path.is_dir():
                files |= {f: self.kind_of(f) for f in yaml_files(path)} or {path: "job"}
            else:
                files[path] = self.kind_of(path)
        jobs = [f for f, kind in files.items() if kind == "job"]
        if jobs:
            self.jobs(jobs)
        for file, kind in files.items():
            if kind in self.kinds:
                self.counts[kind] += 1
                self.kinds[kind](file)
        if "contract" in files.values():
            self.refuse_twins()
        return Checked(in_order(self.findings), self.counts)

    def whole_project(self) -> dict[Path, str]:
        root = self.project.root
        files = {root / d: "job" for d in JOB_DIRECTORIES if (root / d).is_dir()} or {root / "jobs": "job"}
        for directory in ("connectors", CONTRACTS):
            files |= {f: self.kind_of(f) for f in yaml_files(root / directory)}
        files |= {
            root / f: self.kind_of(root / f) for f in (REGISTRY_FILE, RUNNER_FILE, POLICY_FILE) if (root / f).exists()
        }
        return files

    def kind_of(self, path: Path) -> str:
        shown = self.project.shown(path)
        named = {REGISTRY_FILE: "registry", RUNNER_FILE: "runner", POLICY_FILE: "policy"}
        top = shown.partition("/")[0]
        return named.get(shown) or {"connectors": "recipe", CONTRACTS: "contract"}.get(top, "job")

    def jobs(self, paths: list[Path]) -> None:
        if paths == [self.project.root / "jobs"] and not paths[0].exists():
            paths = []
        drafts = read_drafts(self.project, paths, self.findings)
        self.counts["job"] += len(drafts)
        for draft in drafts:
            self.resolver.resolve(draft, self.findings)

    def registry(self, _path: Path) -> None:
        self.resolver.connectors.types(self.findings)

    def recipe(self, path: Path) -> None:
        recipe = self.resolver.connectors.load(path, self.findings)
        if recipe is None:
            return
        shown = self.project.shown(path)
        roles: list[Role] = [r for r, d in ROLE_DIRECTORIES.items() if shown.startswith(f"{d}/")]
        for role in roles or recipe.recipe.roles or recipe.connector_type.roles:
            if role not in recipe.connector_type.roles:
                problem = f"{recipe.recipe.type} cannot be a {role}"
                remedy = f"move the file to {ROLE_DIRECTORIES[recipe.connector_type.roles[0]]}/"
                self.findings.append(recipe.document.finding("DTV032", ("type",), problem, remedy))
                continue
            self.resolver.base(recipe, role, self.findings)
        self.findings += inline_secrets(recipe.document, ("default_engine", "connection_template"))

    def contract(self, path: Path) -> None:
        document = self.project.load(path, [])
        for contract in self.resolver.contracts.read(path, self.findings):
            # What ODCS calls a name is made for people; jobs say with target.table and target.namespace what it becomes.
            if document is not None and contract.spelling != "odcs":
                self.findings += contract_names(document, contract)

    def runner(self, path: Path) -> None:
        load_runner(self.project, self.findings, path)

    def policy(self, path: Path) -> None:
        document = self.project.load(path, self.findings)
        if document is not None:
            check_model(Policy, document, self.findings)

    def refuse_twins(self) -> None:
        """Two contracts that any look-up would have to choose between."""
        for name, version, paths in self.resolver.contracts.twins():
            files = " and ".join(self.project.shown(p) for p in paths)
            problem = f"two contracts are called '{name}' in version {version}: {files}"
            remedy = "remove or rename one of them, or give one a new version"
            finding = Finding(
                code="DTV041", file=self.project.shown(paths[-1]), line=1, column=1, problem=problem, remedy=remedy
            )
            self.findings.append(finding)
