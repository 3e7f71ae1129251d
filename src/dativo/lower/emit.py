"""Artefacts as files: atomic writes, nothing rewritten that is already so, and the comparison of `--check`."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file the compiler makes."""

    path: Path
    content: bytes


def write_atomic(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees either the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def current_content(path: Path) -> bytes | None:
    """What the file holds now; None when there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def write_all(artefacts: Iterable[Artefact]) -> int:
    """Write what differs; returns how many files changed."""
    changed = 0
    for artefact in artefacts:
        if current_content(artefact.path) != artefact.content:
            write_atomic(artefact.path, artefact.content)
            changed += 1
    return changed


def differences(artefacts: Iterable[Artefact], *, base: Path) -> list[str]:
    """Unified diff of every artefact whose file is not what the compiler would write; empty when all are current."""
    diffs = []
    for artefact in artefacts:
        now = current_content(artefact.path)
        if now != artefact.content:
            diffs.append(unified_diff(artefact.path, now, artefact.content, base=base))
    return diffs


def unified_diff(path: Path, now: bytes | None, wanted: bytes, *, base: Path) -> str:
    """Diff from the file as it lies there to what it should hold."""
    name = path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)
    before = (now or b"").decode(errors="replace").splitlines(keepends=True)
    after = wanted.decode(errors="replace").splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"{name} (as it is)", f"{name} (compiled)"))
