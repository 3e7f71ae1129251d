"""Publishing: staged files, deletes, schema changes, bookmark and receipt of one table in one commit, exactly once.

The commit id stands in the bookmark property; after an unknown outcome the table is read again and the id tells.
"""

from __future__ import annotations

import dataclasses
import os
import random
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import CommitFailedException, TableAlreadyExistsError

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.stages import passing
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table import evolve
from target_iceberg.table.bookmark import Bookmark
from target_iceberg.table.content import CONTENT_DIGEST, digest_after
from target_iceberg.table.deletes import existing_rows, write_position_deletes
from target_iceberg.table.key_index import KeyIndex
from target_iceberg.table.lake_catalog import UNKNOWN_OUTCOME, catalog_error, ensure_namespace, lake_errors
from target_iceberg.table.positions import Positions
from target_iceberg.table.receipt import FILES_DIGEST, files_digest
from target_iceberg.table.rewrite import in_place_of, moved_columns, rewritten
from target_iceberg.table.snapshot import RowDelta
from target_iceberg.table.stage import BASE_PROPERTIES, address
from target_iceberg.table.transaction import staged_table
from target_iceberg.table.versions import marked_rows, outdated_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table, Transaction

    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.files_catalog import ObjectEntry
    from target_iceberg.table.stage import Lakehouse, Stage
    from target_iceberg.table.writer import StagedFile

DEADLINE_S = float(os.environ.get("DATIVO_PUBLISH_DEADLINE_S") or 120)
"""Of a publish that meets conflicts, or a catalog that does not answer."""
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0


@dataclass
class StreamPublish:
    """What one stream brings to a publish."""

    stage: Stage
    files: list[StagedFile]
    state: Any
    """State part to store (bookmark.split_state), or None to keep the one at the start."""
    replaced_files: set[str] = field(default_factory=set)
    unwanted: Positions = field(default_factory=Positions)
    """Staged rows that must not become visible: superseded in this run, or withheld after the last STATE."""
    receipt: dict[str, str] = field(default_factory=dict)
    tombstones: list[StagedFile] = field(default_factory=list)
    """Keys of rows that the source has deleted; rows of the table that have them go."""
    activated: int | None = None
    """Rows of earlier versions of the source's table go, or are marked as deleted unless the plan says hard_delete."""
    objects: list[ObjectEntry] | None = None
    """What the rows have become where a table is a folder of other objects than Parquet."""
    also_delete: Callable[[Table], Positions] | None = None
    """Further live rows to take away, looked up in the table as it stands at the attempt."""

    @property
    def plan(self) -> StreamPlan:
        """The stream's load plan."""
        return self.stage.plan


@dataclass(frozen=True)
class Published:
    """What a publish did to one table."""

    snapshot_id: int
    rows_replaced: int
    bookmarks: dict[str, Bookmark]


class Backoff:
    """Full jitter under a deadline: attempts of many writers spread out, and the end is a time, not a count."""

    def __init__(self, deadline_s: float = DEADLINE_S) -> None:
        self._end = time.monotonic() + deadline_s
        self._wait_s = _FIRST_WAIT_S

    def wait(self) -> bool:
        """Sleep a random while; false when the deadline has passed."""
        pause = random.uniform(0, self._wait_s)  # noqa: S311  spreads load, hides nothing
        if time.monotonic() + pause > self._end:
            return False
        time.sleep(pause)
        self._wait_s = min(self._wait_s * 2, _LONGEST_WAIT_S)
        return True


def publish_table(lake: Lakehouse, streams: list[StreamPublish], commit_id: str, run_id: str) -> Published:
    """Publish what all streams of one table have staged, in one commit.

    Raises:
        RetryableError: overtaken by another run, schema changed meanwhile, or the catalog did not settle before the deadline.
        TargetError: refused.
    """
    where = address(streams[0].plan)
    backoff = Backoff()
    while True:
        attempt = _Attempt(lake, streams, commit_id, run_id)
        try:
            return attempt.run()
        except (CommitFailedException, TableAlreadyExistsError) as e:
            attempt.discard()  # proves that nothing landed
            error: TargetError = RetryableError(
                f"{where}: other writers kept committing for {DEADLINE_S:.0f} s ({e}); run again", "conflict"
            )
            cause: BaseException = e
        except UNKNOWN_OUTCOME as e:
            # Whether it landed is read from the table at the start of the next attempt.
            error, cause = catalog_error(e, where), e
        if not backoff.wait():
            raise error from cause


class _Attempt:
    """One try, on the table as it stands now."""

    def __init__(self, lake: Lakehouse, streams: list[StreamPublish], commit_id: str, run_id: str) -> None:
        self._lake, self._streams, self._commit_id, self._run_id = lake, streams, commit_id, run_id
        self._plan = streams[0].plan
        self._written_paths: list[str] = []
        self._marked: list[StagedFile] = []
        self._table: Table | None = None

    def run(self) -> Published:
        self._table = self._lake.load(self._plan)
        if self._table is not None and (settled := self._settled(self._table)) is not None:
            return settled
        self._check_bookmarks()
        if self._table is None:
            ensure_namespace(self._lake.catalog, self._plan.namespace)
        transaction = self._lake.begin(self._streams[0].stage.steps[0], self._table)
        for s in self._streams:
            for step in s.stage.steps:
                evolve.apply(transaction, step)
        self._require_same_table(transaction)
        self._streams = [self._under_current_ids(s, transaction) for s in self._streams]
        return self._commit(transaction)

    def discard(self) -> None:
        """Remove what an attempt that is proven not to have landed has written."""
        if self._table is not None:
            for path in self._written_paths:
                with lake_errors(path):
                    self._table.io.delete(path)

    def _settled(self, table: Table) -> Published | None:
        """The result, when an earlier attempt of this commit has landed after all."""
        held = {s.plan.stream: self._lake.bookmark(table.metadata, s.plan.stream) for s in self._streams}
        mine = {name: b for name, b in held.items() if b is not None and b.commit_id == self._commit_id}
        if len(mine) < len(held):
            return None
        snapshot_id = next(iter(mine.values())).snapshot_id
        snapshot = table.metadata.snapshot_by_id(snapshot_id)
        replaced = (
            snapshot.summary.additional_properties.get("dativo.rows-replaced", "0")
            if snapshot and snapshot.summary
            else "0"
        )
        return Published(snapshot_id, int(replaced), mine)

    def _check_bookmarks(self) -> None:
        """Compare and set: a stream is committed only on top of the bookmark that its run started from."""
        for s in self._streams:
            now = None if self._table is None else self._lake.bookmark(self._table.metadata, s.plan.stream)
            if (now.n if now else 0) != s.stage.start_n or (
                now and s.stage.start and not bookmarks.same(now.state, s.stage.start.state)
            ):
                by = f"run {now.run_id}" if now else "whoever dropped the table"
                raise RetryableError(
                    f"stream {s.plan.stream}: overtaken by {by} on {address(s.plan)}; nothing of this stream was "
                    "published, run again",
                    "overtaken",
                )

    def _require_same_table(self, transaction: Transaction) -> None:
        """Files staged for a table are not committed to another one that has taken its name, or under another spec."""
        uuid = None if self._table is None else str(self._table.metadata.table_uuid)
        for s in self._streams:
            if s.stage.table_existed and any(f.table_uuid != uuid for f in s.files):
                raise RetryableError(
                    f"{address(s.plan)}: the table was dropped or made anew by somebody else while the run staged its "
                    "files; nothing was published, run again",
                    "conflict",
                )
            if s.files and transaction.table_metadata.spec() != s.stage.spec:
                raise RetryableError(
                    f"{address(s.plan)}: somebody else has changed the partitioning while the run staged its files; "
                    "nothing was published, run again",
                    "conflict",
                )

    def _under_current_ids(self, s: StreamPublish, transaction: Transaction) -> StreamPublish:
        """The stream's files, those written anew whose field ids are no longer the table's."""
        table = staged_table(transaction)
        schema = transaction.table_metadata.schema()
        keys = schema.select(*s.plan.key)
        anew: dict[str, StagedFile] = {}
        for f, wanted in [*((f, schema) for f in s.files), *((f, keys) for f in s.tombstones)]:
            if moved_columns(f, schema):
                anew[f.data_file.file_path] = rewritten(table, wanted, f, self._run_id)
        if not anew:
            return s
        self._written_paths += [f.data_file.file_path for f in anew.values()]
        files, tombstones = ([anew.get(f.data_file.file_path, f) for f in fs] for fs in (s.files, s.tombstones))
        unwanted = in_place_of(s.unwanted, {path: f.data_file for path, f in anew.items()})
        return dataclasses.replace(s, files=files, tombstones=tombstones, unwanted=unwanted)

    def _commit(self, transaction: Transaction) -> Published:
        replace = self._plan.write_mode == "replace"
        existing = Positions()
        if not replace and self._table is not None:
            for s in self._streams:
                existing.by_file += self._existing(s, self._table, transaction)
        existing = existing.merged()
        unwanted = [p for s in self._streams for p in s.unwanted.by_file]
        positions = Positions([*existing.by_file, *unwanted])
        rows_replaced = self._live_rows() if replace else existing.rows
        summary = {k: v for s in self._streams for k, v in s.receipt.items()}
        summary |= {
            "dativo.run-id": self._run_id,
            "dativo.commit-id": self._commit_id,
            "dativo.tenant": self._lake.tenant,
            "dativo.job": self._lake.job,
            "dativo.rows-replaced": str(rows_replaced),
        }
        delta = RowDelta(
            transaction,
            staged_table(transaction).io,
            replace_all=replace,
            overwrite=bool(replace or positions.by_file),
            snapshot_properties=summary,
        )
        marks = {s.plan.stream: self._next_bookmark(s, delta) for s in self._streams}
        added = [*(f for s in self._streams for f in s.files), *self._marked]
        if self._plan.content_digest:
            before, schema = None if replace else self._table, transaction.table_metadata.schema()
            io, files = staged_table(transaction).io, [f.data_file for f in added]
            summary[CONTENT_DIGEST] = str(digest_after(before, schema, io, files, Positions(unwanted), existing))
        if self._lake.settings.kind == "files":
            added, positions = self._as_objects(transaction, delta, added, Positions(unwanted), existing), Positions()
        summary[FILES_DIGEST] = files_digest(f.sha256 for f in added)
        for s in self._streams:
            key = f"{self._lake.tenant}.{self._lake.job}.{s.plan.stream}"
            summary[bookmarks.SUMMARY_PREFIX + key] = bookmarks.encode(marks[s.plan.stream])
        for staged in added:
            delta.append_data_file(staged.data_file)
        if positions.by_file:
            files = write_position_deletes(staged_table(transaction), positions, self._run_id)
            self._written_paths += [f.file_path for f in files]
            for f in files:
                delta.add_position_deletes(f)
            passing("deletes_written")
        transaction.set_properties(self._properties(marks))
        delta.commit()
        passing("before_commit")
        transaction.commit_transaction()
        passing("after_commit")
        return Published(delta.snapshot_id, rows_replaced, marks)

    def _as_objects(
        self,
        transaction: Transaction,
        delta: RowDelta,
        added: list[StagedFile],
        unwanted: Positions,
        existing: Positions,
    ) -> list[StagedFile]:
        """Files that the snapshot adds where a table is a folder, without position deletes."""
        from target_iceberg.table.folder import announce_objects

        catalog: Any = self._lake.catalog
        table = staged_table(transaction)
        kept, removed = announce_objects(
            catalog, table, self._streams, added, unwanted, existing, self._commit_id, self._run_id
        )
        there = {f.data_file.file_path for f in added}
        self._written_paths += [path for f in kept if (path := f.data_file.file_path) not in there]
        for path in removed:
            delta.remove(path)
        return kept

    def _existing(self, s: StreamPublish, table: Table, transaction: Transaction) -> list[tuple[DataFile, np.ndarray]]:
        """Rows of the table that a stream takes away."""
        snapshot = table.current_snapshot()
        if snapshot is None or (
            snapshot.summary and snapshot.summary.additional_properties.get("total-data-files") == "0"
        ):
            return []  # no need to look for the rows of any key
        found = Positions()
        if s.also_delete is not None:
            found.by_file += s.also_delete(table).by_file
        staged = [*s.files, *s.tombstones]
        key = s.plan.key if s.plan.write_mode == "upsert" and staged else ()
        if not key:
            if s.replaced_files:
                found.by_file += existing_rows(table, None, (), s.replaced_files).by_file
            found.by_file += self._outdated(s, table, transaction, None)
            return found.by_file
        schema = transaction.table_metadata.schema()
        with KeyIndex(table.io, staged, [schema.find_field(k).field_id for k in key], key) as index:
            found.by_file += existing_rows(table, index, key, s.replaced_files).by_file
            found.by_file += self._outdated(s, table, transaction, index)
        return found.by_file

    def _outdated(
        self, s: StreamPublish, table: Table, transaction: Transaction, replaced: KeyIndex | None
    ) -> list[tuple[DataFile, np.ndarray]]:
        """Rows of versions that are no longer valid; where they are to stay, new files with them are prepared."""
        if s.activated is None:
            return []
        found = outdated_rows(table, s.activated, unmarked_only=not s.plan.hard_delete)
        if found.rows and not s.plan.hard_delete:
            metadata = transaction.table_metadata
            self._marked += marked_rows(
                table,
                staged_table(transaction),
                metadata.schema(),
                metadata.spec(),
                s.activated,
                replaced,
                s.plan.target_file_size_bytes,
                self._run_id,
            )
            self._written_paths += [f.data_file.file_path for f in self._marked]
        return found.by_file

    def _live_rows(self) -> int:
        snapshot = self._table.current_snapshot() if self._table is not None else None
        if snapshot is None or snapshot.summary is None:
            return 0
        totals = snapshot.summary.additional_properties
        return int(totals.get("total-records", "0")) - int(totals.get("total-position-deletes", "0"))

    def _next_bookmark(self, s: StreamPublish, delta: RowDelta) -> Bookmark:
        start = s.stage.start
        state = s.state if s.state is not None else (start.state if start else None)
        return Bookmark(
            n=s.stage.start_n + 1,
            commit_id=self._commit_id,
            snapshot_id=delta.snapshot_id,
            sequence_number=delta.sequence_number,
            run_id=self._run_id,
            fingerprint=s.plan.fingerprint,
            state=state,
        )

    def _properties(self, marks: dict[str, Bookmark]) -> dict[str, str]:
        wanted = {k: v for k, v in {**self._plan.properties, **BASE_PROPERTIES}.items() if k != "format-version"}
        if self._table is not None:  # a table that was adopted stays marked as made by somebody else
            current = self._table.metadata.properties
            wanted = {k: v for k, v in wanted.items() if current.get(k) != v and k != "dativo.created-by"}
        names = {
            bookmarks.property_name(self._lake.tenant, self._lake.job, stream): bookmarks.encode(b)
            for stream, b in marks.items()
        }
        return {**wanted, **names}
