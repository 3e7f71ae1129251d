"""Connector types and recipes by name: the project's own first, then the built-in ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dativo.config.check_model import check_model
from dativo.config.diagnostics import did_you_mean, has_errors, listed
from dativo.config.model.recipe import Recipe
from dativo.config.model.registry import ConnectorType, Registry
from dativo.config.project import BUILTIN, REGISTRY_FILE, yaml_files

if TYPE_CHECKING:
    from pathlib import Path

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.model.base import Role
    from dativo.config.project import Project
    from dativo.config.yamlio import Document

ROLE_DIRECTORIES: dict[Role, str] = {"source": "connectors/sources", "target": "connectors/targets"}
OTHER_ROLE: dict[Role, Role] = {"source": "target", "target": "source"}


@dataclass(frozen=True, slots=True)
class LoadedRecipe:
    """A recipe and the connector type behind it."""

    name: str
    document: Document
    recipe: Recipe
    connector_type: ConnectorType


class Connectors:
    """All connector types and recipes that jobs of a project may name."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._types: dict[str, ConnectorType] | None = None
        self._registry_findings: list[Finding] = []
        self._files: dict[tuple[Role, str], Path | None] = {}
        self._recipes: dict[str, tuple[LoadedRecipe | None, list[Finding]]] = {}

    def types(self, findings: list[Finding]) -> dict[str, ConnectorType]:
        """Connector types; the project's registry adds to the built-in one, or replaces types of it."""
        if self._types is None:
            self._types = {}
            for path in (BUILTIN / REGISTRY_FILE, self.project.root / REGISTRY_FILE):
                document = self.project.load(path, self._registry_findings) if path.exists() else None
                registry = check_model(Registry, document, self._registry_findings) if document else None
                self._types.update(registry.connectors if registry else {})
        findings += self._registry_findings
        return self._types

    def names(self, role: Role) -> dict[str, Path]:
        """Recipes that can play a role, by name: built-in ones, overridden by the project's."""
        found: dict[str, Path] = {}
        for root in (BUILTIN, self.project.root):
            found.update({p.stem: p for p in (root / "connectors").glob("*.y*ml")})
            found.update({p.stem: p for p in yaml_files(root / ROLE_DIRECTORIES[role])})
        return found

    def find(
        self, role: Role, job: Document, name: str | None, path: str | None, findings: list[Finding]
    ) -> LoadedRecipe | None:
        """The recipe that a job names for a role."""
        key = f"{role}_connector"
        if path is not None:
            return self._checked(role, self.project.path(path), job, (f"{key}_path",), findings)
        if name is None:
            remedy = f"add {key}: <name>; there are {listed(self.names(role))}"
            findings.append(job.finding("DTV012", (key,), f"the key '{key}' is missing", remedy))
            return None
        file = self._file_of(role, name)
        if file is not None:
            return self._checked(role, file, job, (key,), findings)
        if self._file_of(OTHER_ROLE[role], name) is not None:
            problem = f"'{name}' is a {OTHER_ROLE[role]} and cannot be the {role}"
            findings.append(job.finding("DTV032", (key,), problem, f"use one of: {listed(self.names(role))}"))
            return None
        problem = f"no connector '{name}' in {ROLE_DIRECTORIES[role]}/{did_you_mean(name, self.names(role))}"
        remedy = f"write {ROLE_DIRECTORIES[role]}/{name}.yaml, or use one of: {listed(self.names(role))}"
        findings.append(job.finding("DTV030", (key,), problem, remedy))
        return None

    def load(self, path: Path, findings: list[Finding]) -> LoadedRecipe | None:
        """A recipe file, checked against its model and the registry."""
        key = str(path)
        if key not in self._recipes:
            own: list[Finding] = []
            self._recipes[key] = self._read(path, own), own
        loaded, own = self._recipes[key]
        findings += own
        return loaded

    def _file_of(self, role: Role, name: str) -> Path | None:
        if (role, name) not in self._files:
            self._files[role, name] = self._look_for(role, name)
        return self._files[role, name]

    def _look_for(self, role: Role, name: str) -> Path | None:
        for root in (self.project.root, BUILTIN):
            for directory in (ROLE_DIRECTORIES[role], "connectors"):
                for suffix in (".yaml", ".yml"):
                    file = root / directory / f"{name}{suffix}"
                    if file.exists():
                        return file
        return None

    def _read(self, path: Path, findings: list[Finding]) -> LoadedRecipe | None:
        document = self.project.load(path, findings)
        recipe = check_model(Recipe, document, findings) if document else None
        if document is None or recipe is None:
            return None
        types = self.types(findings)
        connector_type = types.get(recipe.type)
        if connector_type is None:
            problem = f"no connector type '{recipe.type}' in the registry{did_you_mean(recipe.type, types)}"
            remedy = f"use one of: {listed(types, 30)}; or add it to {REGISTRY_FILE}"
            findings.append(document.finding("DTV031", ("type",), problem, remedy))
            return None
        return LoadedRecipe(recipe.name or path.stem, document, recipe, connector_type)

    def _checked(
        self, role: Role, path: Path, job: Document, place: tuple[PathPart, ...], findings: list[Finding]
    ) -> LoadedRecipe | None:
        own: list[Finding] = []
        loaded = self.load(path, own)
        findings += own
        if loaded is None or has_errors(own):
            if not has_errors(own):
                findings.append(job.finding("DTV030", place, f"no recipe at {path}", "check the path"))
            return None
        if role not in (loaded.recipe.roles or loaded.connector_type.roles) or role not in loaded.connector_type.roles:
            problem = f"'{loaded.name}' ({loaded.recipe.type}) cannot be a {role}"
            findings.append(job.finding("DTV032", place, problem, f"use one of: {listed(self.names(role))}"))
            return None
        return loaded
