"""A project: its root, its files, and how paths in them are meant.

    project = Project.discover()
    jobs, findings = load_jobs(project)          # dativo.config.resolve
    print_findings(findings, "text", sys.stdout) # dativo.config.report

Everything is read once; no file outside the project is needed, since connector types and recipes that the project does
not have come from the package (`builtin/`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dativo.config import yamlio
from dativo.config.diagnostics import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dativo.config.yamlio import Document

BUILTIN = Path(__file__).parents[1] / "builtin"
JOB_DIRECTORIES = ("jobs", "configs/jobs")
RUNNER_FILE = "configs/runner.yaml"
POLICY_FILE = "configs/policy.yaml"
REGISTRY_FILE = "registry/connectors.yaml"
_MARKERS = (*JOB_DIRECTORIES, RUNNER_FILE, REGISTRY_FILE, "connectors", "assets", ".dativo")
_ROOT_PREFIXES = ("/app/", "/workspace/")
_BELOW_ROOT = ("/secrets/", "/state/")
_SUFFIXES = (".yaml", ".yml")


def find_root(start: Path) -> Path:
    """The nearest directory, from `start` upwards, that looks like a project; `start` itself when none does."""
    start = start.absolute()
    for directory in (start, *start.parents):
        if any((directory / marker).exists() for marker in _MARKERS):
            return directory
    return start


class Project:
    """One project on disk."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.normpath(root.absolute()))
        self._root_text = f"{self.root}{os.sep}"
        self._loaded: dict[str, tuple[Document | None, list[Finding]]] = {}

    @classmethod
    def discover(cls, start: Path | None = None) -> Project:
        """The project around a directory, by default the working directory."""
        return cls(find_root(start or Path.cwd()))

    def shown(self, path: Path) -> str:
        """How findings name a file: relative to the root where it lies below it."""
        text = str(path)
        if text.startswith(self._root_text):
            return text[len(self._root_text) :].replace(os.sep, "/")
        if path.is_relative_to(BUILTIN):
            return f"(built-in) {path.relative_to(BUILTIN).as_posix()}"
        return text

    def path(self, text: str) -> Path:
        """A path as the project's files mean it.

        Relative paths start at the root. `/app/…` and `/workspace/…` mean the root, `/secrets/…` and `/state/…` those
        directories below it, unless the path exists as it stands.
        """
        return self.root / self.rendered(text)

    def rendered(self, text: str) -> str:
        """The same as text: relative to the root where the path lies below it. A glob counts by its fixed beginning."""
        if text.startswith(self._root_text):
            return text[len(self._root_text) :].replace(os.sep, "/")
        if text.startswith((*_ROOT_PREFIXES, *_BELOW_ROOT)) and not _exists(text):
            below = text.lstrip("/")
            return below if text.startswith(_BELOW_ROOT) else below.partition("/")[2]
        return text

    def load(self, path: Path, findings: list[Finding]) -> Document | None:
        """A YAML file, read once; its faults are added to the findings of everyone who asks."""
        key = os.path.normpath(path)
        if key not in self._loaded:
            own: list[Finding] = []
            self._loaded[key] = yamlio.load(Path(key), self.shown(Path(key)), own), own
        document, own = self._loaded[key]
        findings += own
        return document

    def asked(self, path: Path) -> Path:
        """A path from the command line: from the working directory, else from the root."""
        here = path.absolute()
        return here if here.exists() or path.is_absolute() else self.root / path

    def job_files(self, paths: Iterable[Path], findings: list[Finding]) -> list[Path]:
        """Job files below the given files and directories (default: jobs/ and configs/jobs/), each once, in order."""
        asked = [self.asked(p) for p in paths]
        if not asked:
            asked = [self.root / d for d in JOB_DIRECTORIES if (self.root / d).is_dir()]
            if not asked:
                findings.append(_no_jobs("jobs", "there is no directory jobs/ here"))
        files: dict[str, Path] = {}
        for path in asked:
            found = [path] if path.is_file() else yaml_files(path)
            if not path.exists():
                problem, remedy = (
                    "no such file or directory",
                    "check the path; it starts at the working directory or the project root",
                )
                findings.append(Finding(code="DTV021", file=self.shown(path), problem=problem, remedy=remedy))
            files.update({os.path.normpath(f): f for f in found})
        if asked and not files and not findings:
            findings.append(_no_jobs(self.shown(asked[0]), "no job lies here"))
        return [Path(p) for p in files]


def _no_jobs(place: str, problem: str) -> Finding:
    remedy = "write jobs/<tenant>/<job>.yaml, or make a first project with: dativo init"
    return Finding(code="DTV020", file=place, problem=problem, remedy=remedy)


def yaml_files(directory: Path) -> list[Path]:
    """YAML files below a directory in the order of their names; hidden ones are left out.

    A directory that is named like a YAML file is listed, too: reading it then says what is wrong.
    """
    return sorted(_walk(directory)) if directory.is_dir() else []


def _walk(directory: Path) -> Iterator[Path]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        yield directory  # reading it says why
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.name.endswith(_SUFFIXES):
            yield Path(entry.path)
        elif entry.is_dir():
            yield from _walk(Path(entry.path))


def _exists(text: str) -> bool:
    """Whether a path, or the fixed beginning of a glob, exists as it stands."""
    fixed = text
    for wildcard in "*?[$":
        fixed = fixed.partition(wildcard)[0]
    if fixed != text:
        fixed = fixed.rpartition("/")[0]
    try:
        return Path(fixed).exists()
    except OSError:
        return False
