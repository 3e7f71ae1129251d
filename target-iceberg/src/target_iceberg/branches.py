"""Branches of a Nessie server as commands see them: what differs, what was done, and going back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.table.lake_catalog import NessieError, lake_errors, load_table, nessie_catalog
from target_iceberg.table.nessie import MergeConflictError

if TYPE_CHECKING:
    from target_iceberg.load_plan import LakeCatalog
    from target_iceberg.table.nessie import Commit, Reference

_RUN = re.compile(r"(?P<job>[^/\s]+/\S+): \d+ rows, run (?P<run>\S+)")
"""The message of a commit that a run has made."""


@dataclass(frozen=True)
class TableDiff:
    """A table that is not the same on two branches."""

    table: str
    rows_before: int | None
    """None: it is not there."""
    rows_after: int | None
    schema: list[str] = field(default_factory=list)
    """Lines of a diff."""


@dataclass(frozen=True)
class Rollback:
    """What going back undoes."""

    branch: str
    hash: str
    commits: int
    jobs: list[str]
    """Jobs whose rows and bookmarks go back."""
    others: list[str]
    """Messages of commits that no run of a job has made."""


class Branches:
    """The branches of one server.

    Args:
        settings: of a lake catalog on Nessie.

    Raises:
        TargetError: it cannot be reached.
    """

    def __init__(self, settings: LakeCatalog) -> None:
        self._catalog = nessie_catalog(settings)

    @property
    def server(self) -> str:
        """Its address."""
        return self._catalog.server

    def listed(self) -> list[dict[str, Any]]:
        """Name, hash and last commit of each branch."""
        with lake_errors(self.server):
            rows = []
            for branch in self._catalog.branches(""):
                last = next(self._catalog.history(branch.name), None)
                rows.append(
                    {
                        "branch": branch.name,
                        "hash": branch.hash,
                        "last commit": last.committed_at if last else None,
                        "message": last.message if last else None,
                    }
                )
            return sorted(rows, key=lambda r: str(r["branch"]))

    def diff(self, branch: str, base: str | None = None) -> list[TableDiff]:
        """Tables that differ between a base (by default the server's default branch) and a branch.

        Raises:
            TargetError: one of them is not there.
        """
        with lake_errors(self.server):
            before = self._require(base or self._catalog.default_branch())
            after = self._require(branch)
            names = self._catalog.changed_tables(before.name, after.name)
            return [self._compare(name, before, after) for name in sorted(names)]

    def merge(self, source: str, target: str, author: str) -> str:
        """Bring a branch's tables to another; returns the new hash.

        Raises:
            TargetError: a table was changed on both; the message names it.
        """
        with lake_errors(self.server):
            ours, theirs = self._require(source), self._require(target)
            try:
                return self._catalog.merge(ours, theirs, f"merge {source} into {target}", author)
            except MergeConflictError as e:
                raise TargetError(
                    f"{source} cannot be merged into {target}: {e}; look at both with: dativo branch diff {source} --base {target}",
                    "conflict",
                ) from e

    def delete(self, name: str) -> None:
        """Delete a branch; the server's default branch is refused.

        Raises:
            TargetError: it is not there, or must stay.
        """
        with lake_errors(self.server):
            branch = self._require(name)
            if name == self._catalog.default_branch():
                raise TargetError(
                    f"{name} is the default branch of {self.server}, which others are made from", "refused"
                )
            self._catalog.delete_branch(branch)

    def rollback(self, name: str, to_hash: str, *, force: bool = False, dry_run: bool = False) -> Rollback:
        """Move a branch back to one of its commits.

        Args:
            name: of the branch.
            to_hash: commit, or the beginning of its hash.
            force: also if commits of several jobs, or of nobody's job, lie between.
            dry_run: only say what it would undo.

        Raises:
            TargetError: the branch has no such commit, or others' commits lie between.
            RetryableError: the branch moved meanwhile.
        """
        with lake_errors(self.server):
            branch = self._require(name)
            between: list[Commit] = []
            for commit in self._catalog.history(name):
                if commit.hash.startswith(to_hash):
                    break
                between.append(commit)
            else:
                raise TargetError(f"branch {name} has no commit {to_hash}; see: dativo branch log {name}", "refused")
            runs = [_RUN.match(c.message) for c in between]
            undone = Rollback(
                name,
                commit.hash,
                len(between),
                sorted({m["job"] for m in runs if m}),
                [c.message for c, m in zip(between, runs, strict=True) if m is None],
            )
            if not force and (len(undone.jobs) > 1 or undone.others):
                whose = ", ".join([*undone.jobs, *(f"'{o}'" for o in undone.others)])
                raise TargetError(f"commits of others lie between: {whose}; --force undoes them too", "refused")
            if between and not dry_run:
                self._assign(branch, commit.hash)
            return undone

    def log(self, name: str, limit: int) -> list[Commit]:
        """The last commits of a branch, newest first.

        Raises:
            TargetError: it is not there.
        """
        with lake_errors(self.server):
            self._require(name)
            return [c for c, _ in zip(self._catalog.history(name), range(limit), strict=False)]

    def _assign(self, branch: Reference, to_hash: str) -> None:
        try:
            self._catalog.assign(branch, to_hash)
        except NessieError as e:
            if e.status != 409:
                raise
            raise RetryableError(
                f"branch {branch.name} has moved meanwhile; look again, then repeat it", "conflict"
            ) from e

    def _require(self, name: str) -> Reference:
        found = self._catalog.reference(name)
        if found is None:
            raise TargetError(f"there is no branch {name} on {self.server}; see: dativo branch list", "refused")
        return found

    def _compare(self, name: tuple[str, ...], before: Reference, after: Reference) -> TableDiff:
        tables = [load_table(self._catalog.on(r.name), name[:-1], name[-1]) for r in (before, after)]
        old, new = ([] if t is None else [f"{f.name} {f.field_type}" for f in t.schema().fields] for t in tables)
        rows = [None if t is None else int(t.scan().count()) for t in tables]
        changed = (
            []
            if not old or not new
            else [*(f"- {c}" for c in old if c not in new), *(f"+ {c}" for c in new if c not in old)]
        )
        return TableDiff(".".join(name), rows[0], rows[1], changed)
