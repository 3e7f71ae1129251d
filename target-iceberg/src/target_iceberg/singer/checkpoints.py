"""When a run writes a checkpoint, and how the next one goes on from it."""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import TYPE_CHECKING, Any

from target_iceberg.errors import TargetError
from target_iceberg.singer.log import event
from target_iceberg.stages import passing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_iceberg.load_plan import LoadPlan
    from target_iceberg.singer.stream import StreamSink
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.journal import Checkpoint, Found, Journal
    from target_iceberg.table.stage import Lakehouse
    from target_iceberg.table.writer import StagedFile

EVERY_S_ENV = "DATIVO_CHECKPOINT_EVERY_S"
EVERY_S = 300.0
EVERY_BYTES = 512 << 20
"""Bytes on disk; a checkpoint closes files, so a smaller figure would make small files."""
WORTH_KEEPING_BYTES = 32 << 20
"""With less staged, a run that is killed in its publish reads again what it had faster than files are looked up."""


class Checkpoints:
    """The checkpoints of one run.

    `at_state` is called by the thread that reads, `write` by the one that stages.
    """

    def __init__(self, plan: LoadPlan, lake: Lakehouse, run_id: str, sinks: dict[str, StreamSink]) -> None:
        from target_iceberg.table.journal import journal_of

        self._plan, self._run_id, self._sinks = plan, run_id, sinks
        self._journal: Journal | None = journal_of(plan, lake.catalog, lake.settings)
        self._every_s = float(os.environ.get(EVERY_S_ENV) or EVERY_S)
        self._next_s = time.monotonic() + self._every_s
        self._next_bytes = EVERY_BYTES
        self._written = False
        self._is_resumable = any(s.resumable for s in plan.streams)

    def is_due(self) -> bool:
        """Whether the STATE that has come is worth a checkpoint."""
        if self._journal is None or not self._is_resumable:
            return False
        staged = sum(s.staged_bytes for s in list(self._sinks.values()))
        if time.monotonic() < self._next_s and staged < self._next_bytes:
            return False
        self._next_s, self._next_bytes = time.monotonic() + self._every_s, staged + EVERY_BYTES
        return True

    def write(self, state: Any, commit_id: str | None = None) -> None:
        """Write a checkpoint of everything that is staged; what cannot be written is said, and the run goes on.

        Raises:
            TargetError: staged files cannot be closed.
        """
        sinks = dict(self._sinks)
        if self._journal is None or not isinstance(state, dict) or any(s.withheld for s in sinks.values()):
            return
        from target_iceberg.table.journal import Checkpoint, key_of

        try:
            streams = {name: sink.checkpoint(self._journal, self._run_id) for name, sink in sinks.items()}
            passing("checkpoint_files_closed")
            checkpoint = Checkpoint(
                key=key_of(self._plan),
                commit_id=commit_id,
                holder=self._run_id,
                written_at=dt.datetime.now(dt.timezone.utc),
                state=state,
                streams=streams,
            )
            self._journal.write(self._run_id, checkpoint)
        except OSError as e:
            event("checkpoint_not_written", f"no checkpoint could be written: {e}; the run goes on", level="warning")
            self._journal = None
            return
        self._written = True
        passing("checkpoint_written")
        rows = sum(s.counts.read for s in streams.values())
        event("checkpoint", f"checkpoint after {rows:,} records", records=rows, level="debug")

    def before_publish(self, state: Any, commit_id: str, *, state_is_last: bool) -> None:
        """Keep what is about to be published, where reading it again would take long.

        Args:
            state: the last STATE.
            commit_id: of the publish.
            state_is_last: no record came after it.
        """
        staged = sum(s.staged_bytes for s in self._sinks.values())
        if self._is_resumable and state_is_last and (self._written or staged >= WORTH_KEEPING_BYTES):
            self.write(state, commit_id)

    def find(self, held: Mapping[str, Bookmark | None], lake_state: dict[str, Any], start: Any) -> Found | None:
        """The checkpoint whose state the tap has started from."""
        return None if self._journal is None else self._journal.find(self._plan, held, lake_state, start)

    def adopt(self, found: Found) -> None:
        """Become the holder of a checkpoint whose streams the sinks have taken over."""
        assert self._journal is not None  # that is where it was found
        self.write(found.state, found.checkpoint.commit_id)
        if self._written:
            self._journal.remove(found.directory)
        passing("checkpoint_adopted")

    def files_of(self, checkpoint: Checkpoint, stream: str) -> tuple[list[StagedFile], list[StagedFile]]:
        """Staged files of one stream of a checkpoint, and its tombstones.

        Raises:
            OSError: its manifests cannot be read.
        """
        assert self._journal is not None
        known = checkpoint.streams[stream]
        return (
            self._journal.staged_files(known.files, known.manifests),
            self._journal.staged_files(known.tombstones, known.tombstone_manifests),
        )

    def forget(self) -> None:
        """The job has published, or must start over: nothing is to be gone on from."""
        if self._journal is None:
            return
        try:
            self._journal.remove_all()
        except (OSError, TargetError) as e:
            event("checkpoint_left", f"checkpoints could not be removed: {e}", level="warning")
