"""What a lint of jobs looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dativo.config.cascade import get

if TYPE_CHECKING:
    from dativo.config.connectors import LoadedRecipe
    from dativo.config.diagnostics import PathPart
    from dativo.config.drafts import Draft
    from dativo.config.model.resolved import DeploymentMode, ResolvedJob, SourceObject
    from dativo.config.project import Project
    from dativo.config.yamlio import Document


@dataclass(frozen=True, slots=True)
class JobCase:
    """What a lint looks at; `job` is None when something it needs was not found."""

    project: Project
    draft: Draft
    job: ResolvedJob | None
    source: LoadedRecipe | None
    target: LoadedRecipe | None
    mode: DeploymentMode

    @property
    def document(self) -> Document:
        """The job's file."""
        return self.draft.document

    def object_place(self, item: SourceObject) -> tuple[PathPart, ...]:
        """Where the job names an object."""
        for key in ("objects", "files", "tables", "sheets"):
            for i, entry in enumerate(get(self.document.data, f"source.{key}") or ()):
                name = (
                    entry
                    if isinstance(entry, str)
                    else entry.get("object") or str(entry.get("name")).rpartition(".")[2]
                )
                if name == item.name:
                    return "source", key, i
        return ("source",)
