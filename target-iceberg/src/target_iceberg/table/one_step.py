"""All tables of a run in one visible step, on a catalog with branches (protocol, rule 18).

What a run publishes is committed on a branch of its own, made from the head of the job's branch, and merged as one commit. Until
then nobody sees any of it. The merge is refused if one of the same tables has changed meanwhile; then everything is committed anew
on a branch from the new head, where each stream's bookmark is compared again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import uuid
from typing import TYPE_CHECKING, TypeVar

from requests.exceptions import RequestException

from target_iceberg.errors import RetryableError
from target_iceberg.stages import passing
from target_iceberg.table.lake_catalog import NessieError, catalog_error
from target_iceberg.table.nessie import MergeConflictError, NessieCatalog, Reference, commit_of
from target_iceberg.table.publisher import DEADLINE_S, Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyiceberg.table import Table

    from target_iceberg.table.stage import Lakehouse

PREFIX = "dativo_run_"
ABANDONED_AFTER = dt.timedelta(hours=24)
"""A branch lives for the seconds of a publish, but its name says when the run began, which may load for hours before."""
T = TypeVar("T")


def publish_in_one_step(
    lake: Lakehouse,
    namespace: tuple[str, ...],
    run_id: str,
    message: str,
    loaded: dict[tuple[str, ...], Table],
    work: Callable[[Lakehouse], T],
) -> tuple[T, str]:
    """Let `work` commit to a branch of its own and merge that; returns what it returned, and the hash of the merge.

    Args:
        lake: on the job's branch.
        namespace: of one of the tables.
        run_id: names the branch.
        message: of the commit that everybody sees.
        loaded: tables as the run has them from the job's branch.
        work: commits; is called again on a fresh branch after a conflict.

    Raises:
        RetryableError: other writers kept committing to the same tables.
        TargetError: whatever `work` raises, or the catalog refuses the run's branch.
    """
    catalog = lake.catalog
    assert isinstance(catalog, NessieCatalog)
    backoff = Backoff()
    # The run knows where the branch stood and what its tables were there. A table that has changed since cannot be merged.
    target, catalog.opened_at = catalog.opened_at, None
    if target is None or any(commit_of(t.metadata) != target.hash for t in loaded.values()):
        target, loaded = None, {}
    while True:
        name = f"{PREFIX}{run_id}"
        try:
            target = target or catalog.ensure_branch(catalog.branch)
            _make(catalog, name, target)
            try:
                on_branch = catalog.on_own(name, loaded)
                done = work(dataclasses.replace(lake, catalog=on_branch, seen={}))
                passing("before_merge")
                made = Reference(name, on_branch.head) if on_branch.head else None
                source, merged = _merge(catalog, name, made, target, message, lake.job)
                passing("after_merge")
            except BaseException:
                with contextlib.suppress(NessieError, RequestException):
                    _remove(catalog, catalog.reference(name))
                raise
            _remove(catalog, source)
        except MergeConflictError as e:
            target, loaded = None, {}
            catalog.ensure_branch(catalog.branch)
            catalog.begin_history(catalog.branch, namespace)
            if not backoff.wait():
                raise RetryableError(
                    f"branch {catalog.branch}: other writers kept committing to the same tables for {DEADLINE_S:.0f} s ({e}); "
                    "run again",
                    "conflict",
                ) from e
        else:
            return done, merged


def abandoned_branches(catalog: NessieCatalog, now: dt.datetime) -> list[Reference]:
    """Branches of runs that were killed while they published. A run id says when its run began."""
    found = []
    for branch in catalog.branches(PREFIX):
        try:
            run = uuid.UUID(branch.name.removeprefix(PREFIX))
        except ValueError:
            continue  # of a run that somebody named otherwise: nobody knows how old it is
        began = dt.datetime.fromtimestamp((run.int >> 80) / 1000, tz=dt.timezone.utc)
        if run.version == 7 and now - began > ABANDONED_AFTER:
            found.append(branch)
    return found


def _make(catalog: NessieCatalog, name: str, target: Reference) -> None:
    """A branch of the run; one that an earlier attempt has left goes.

    Raises:
        MergeConflictError: the branch that it is to be made from has gone.
    """

    def make() -> None:
        try:
            catalog.create_branch(name, target)
        except NessieError as e:
            left = catalog.reference(name) if e.status == 409 else None
            if left is None:
                raise
            catalog.delete_branch(left)
            catalog.create_branch(name, target)

    try:
        _answered(f"branch {name}", make)
    except NessieError as e:
        if e.status == 404:
            raise MergeConflictError(str(e)) from e
        raise


def _merge(
    catalog: NessieCatalog, name: str, made: Reference | None, target: Reference, message: str, author: str
) -> tuple[Reference, str]:
    """What was merged, and the target's new hash; `made`: where the branch stands, if that is known."""
    source = made or catalog.reference(name)
    if source is None:
        raise MergeConflictError(f"the branch {name} has gone")
    return source, _answered(f"branch {target.name}", lambda: catalog.merge(source, target, message, author))


def _answered(where: str, ask: Callable[[], T]) -> T:
    """What the server says, asked again while it does not answer as it should: what is asked for may have been done, and asked
    again, the server says so or does it.

    Raises:
        NessieError: it refuses.
        TargetError: it did not answer before the deadline.
    """
    backoff = Backoff()
    while True:
        try:
            return ask()
        except (RequestException, NessieError) as e:  # noqa: PERF203  a request is no tight loop
            if isinstance(e, NessieError) and e.status < 500 and e.status != 429:
                raise
            if not backoff.wait():
                raise catalog_error(e, where) from e


def _remove(catalog: NessieCatalog, branch: Reference | None) -> None:
    """What cannot be removed now is found by `dativo clean`."""
    with contextlib.suppress(NessieError, RequestException):
        if branch is not None:
            catalog.delete_branch(branch)
