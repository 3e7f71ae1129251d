"""One stream on its way: bytes or batches in, checked rows staged, bad ones kept as rejects, everything counted."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.load_plan import TABLE_VERSION, Rejects
from target_iceberg.records.contract import CompiledContract
from target_iceberg.records.decode import Decoder
from target_iceberg.records.mask import Masker, mask_key
from target_iceberg.records.metadata import deleted_rows
from target_iceberg.records.rejects import Listing, Room, from_tap
from target_iceberg.records.repeats import key_rule, reject_rows
from target_iceberg.stages import passing
from target_iceberg.table.deletes import SOURCE_FILE
from target_iceberg.table.journal import SinkCounts, StreamCheckpoint, file_entry
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.sorting import sorted_file
from target_iceberg.table.stage import address
from target_iceberg.table.tombstones import UNPARTITIONED, Tombstones
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_iceberg.load_plan import Rule, StreamPlan
    from target_iceberg.records.decode import Decoded
    from target_iceberg.records.rejects import RejectRow
    from target_iceberg.singer.messages import TapReject
    from target_iceberg.singer.run import Run
    from target_iceberg.singer.vanished import KeyListing
    from target_iceberg.table.journal import Journal
    from target_iceberg.table.positions import Positions
    from target_iceberg.table.stage import Stage
    from target_iceberg.table.writer import StagedFile


@dataclass
class Evaluated:
    """What became of one chunk of records."""

    read: int
    good: pa.Table
    rejects: list[RejectRow]
    rejected: int
    counts: Counter[str]
    warnings: dict[str, int]
    rules: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """Rule -> (column, kind), for rules that the contract does not list."""
    fields_dropped: Counter[str] = field(default_factory=Counter)


@dataclass
class Counts:
    """Counts of one stream in this run."""

    read: int = 0
    rejected: int = 0
    good: int = 0
    good_at_state: int | None = None
    """Ordinals of the rows that stood before the stream's last STATE are less than this; None: no STATE came."""
    bytes_in: int = 0
    by_rule: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)
    fields_dropped: Counter[str] = field(default_factory=Counter)
    rules: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """Rule -> (column, kind) of each rule that was broken."""
    examples: dict[str, RejectRow] = field(default_factory=dict)


def sink_for(run: Run, plan: StreamPlan, stage: Stage) -> StreamSink:
    """The sink of a stream of a run.

    Raises:
        TargetError: a column is to be hashed and the tenant's key is not there.
    """
    limits = run.plan.rejects if run.plan else Rejects()
    key = mask_key(run.plan) if run.plan else None
    room = next((s.listing.room for s in run.sinks.values()), None)
    return StreamSink(plan, stage, run.run_id, max_listed=limits.max_listed, strict=run.strict, key=key, room=room)


class StreamSink:
    """Decodes, checks and stages the records of one stream.

    `evaluate_*` may run in any thread; `accept` runs in one thread, in the order of the input.
    """

    def __init__(
        self,
        plan: StreamPlan,
        stage: Stage,
        run_id: str,
        *,
        max_listed: int,
        strict: bool,
        key: bytes | None = None,
        room: Room | None = None,
    ) -> None:
        self.stage = stage
        self.counts = Counts()
        self.listing = Listing(max_listed, room or Room())
        self.source_files: set[str] = set()
        self.notices: list[str] = []
        self.staged_bytes = 0
        """Bytes of staged files on disk."""
        self.activated: int | None = None
        """The version of the source's table that is valid now: rows of earlier ones are gone."""
        self.lowest_version: int | None = None
        """Of the rows staged so far."""
        self.keys: KeyListing | None = None
        """Keys that the source has listed."""
        self._ordinal = 0
        self._run_id, self._max_listed, self._strict = run_id, max_listed, strict
        self._writers: list[DataFileWriter] = []
        self._adopted: list[StagedFile] = []
        self._known_elsewhere: set[str] = set()
        self.mask_key = key
        self._sorted: list[StagedFile] = []
        self._tombstones = Tombstones(run_id)
        self.adopt(plan, stage)

    def adopt(self, plan: StreamPlan, stage: Stage) -> None:
        """Go on with another shape of the stream: its SCHEMA changed. All rows before must have been accepted."""
        if self._writers:
            self._writers[-1].close()
        self.plan, self.stage = plan, stage
        self._masker = Masker(plan, self.mask_key)
        self.decoder, self.contract = Decoder(plan, self._max_listed), CompiledContract(plan, self._max_listed)
        size, name = plan.target_file_size_bytes, self._run_id
        self._writers.append(DataFileWriter(stage.table, stage.schema, stage.spec, size, name))
        self._tombstones.adopt(plan, stage)
        self._dedupe = self._keys_cross_partitions()

    def evaluate_records(self, chunk: bytes, n_rows: int) -> Evaluated:
        """Decode and check whole RECORD lines."""
        return self._evaluate(n_rows, self.decoder.decode_records(chunk, n_rows))

    def evaluate_table(self, table: pa.Table) -> Evaluated:
        """Decode and check rows of a BATCH."""
        return self._evaluate(table.num_rows, self.decoder.decode_table(table))

    def evaluate_reject(self, message: TapReject) -> Evaluated:
        """A record that the tap itself could not shape."""
        reject = from_tap(self.plan, message)
        return Evaluated(1, self.decoder.empty, [reject], 1, Counter({reject.rule: 1}), {})

    def _evaluate(self, read: int, decoded: Decoded) -> Evaluated:
        verdict = self.contract.check(decoded.table)
        good = self._masker.masked(verdict.good)
        rejected = decoded.n_rejected + verdict.n_rejected
        return Evaluated(
            read, good, [*decoded.rejects, *verdict.rejects], rejected, decoded.counts + Counter(verdict.counts),
            verdict.warnings, decoded.columns, decoded.fields_dropped,
        )  # fmt: skip

    def accept(self, chunk: Evaluated) -> None:
        """Take a chunk's rows and rejects.

        Raises:
            TargetError: the rows cannot be staged.
        """
        c = self.counts
        c.read += chunk.read
        c.rejected += chunk.rejected
        c.good += chunk.good.num_rows
        c.by_rule.update(chunk.counts)
        c.warnings.update(chunk.warnings)
        c.fields_dropped.update(chunk.fields_dropped)
        c.rules.update(chunk.rules)
        c.rules.update({name: (r.column, r.kind) for name, r in self.contract.rules.items()})
        for r in chunk.rejects:
            c.examples.setdefault(r.rule, r)
            c.rules.setdefault(r.rule, (r.column, r.kind))
            self.listing.add(r)
        if chunk.good.num_rows and self.plan.replace_files:
            self.source_files.update(v for v in pc.unique(chunk.good[SOURCE_FILE]).to_pylist() if v is not None)
        if not self.withheld:
            with lake_errors(address(self.plan)):
                self.stage_rows(chunk.good)
            if chunk.good.num_rows:
                passing("rows_staged")
        self.staged_bytes = sum(w.bytes_on_disk for w in self._writers)

    def stage_rows(self, rows: pa.Table) -> None:
        """Write rows, and the keys of those that the source has deleted apart from them.

        Raises:
            OSError: they cannot be written.
        """
        if not rows.num_rows:
            return
        dead = deleted_rows(rows) if self._tombstones.wanted else None
        if self._dedupe and self.plan.write_mode == "append":
            rows = self._first_of_twins(rows)
        elif self._dedupe or (dead is not None and self.plan.key):
            rows = self._without_twins(rows)
            dead = deleted_rows(rows) if dead is not None else None
        if dead is not None:
            self._ordinal += self._tombstones.write(rows.filter(dead), at=self._ordinal)
            rows = rows.filter(pc.invert(dead))
        if TABLE_VERSION in rows.column_names and (lowest := pc.min(rows[TABLE_VERSION]).as_py()) is not None:
            self.lowest_version = lowest if self.lowest_version is None else min(lowest, self.lowest_version)
        self._writers[-1].write(rows, at=self._ordinal)
        self._ordinal += rows.num_rows

    def activate(self, version: int) -> None:
        """The source says that only rows of this version of its table are valid."""
        self.activated = version if self.activated is None else max(version, self.activated)

    def reject_staged(self, rule: Rule, n_rows: int, rows: Iterable[RejectRow]) -> None:
        """Count rows as rejects that were good by themselves, and list some of them."""
        c = self.counts
        c.rejected += n_rows
        c.good -= n_rows
        c.by_rule[rule.name] += n_rows
        c.rules[rule.name] = (", ".join(rule.columns), rule.kind)
        for r in itertools.islice(rows, self._max_listed):
            c.examples.setdefault(rule.name, r)
            self.listing.add(r)

    @property
    def rejects(self) -> list[RejectRow]:
        """Those that are listed."""
        return self.listing.rows

    @property
    def withheld(self) -> bool:
        """Strict, and a rule was broken: the run goes on checking only."""
        return self._strict and self.counts.rejected > 0

    @property
    def staged_rows(self) -> int:
        """Rows in files and writers and tombstones, without twins that were dropped before writing."""
        adopted = sum(int(f.data_file.record_count) for f in self._adopted)
        return adopted + sum(w.rows for w in self._writers) + self._tombstones.rows

    @property
    def file_columns(self) -> dict[str, str]:
        """Column -> its name in data files."""
        return self._writers[-1].file_columns

    def mark_state(self) -> None:
        """All rows accepted so far stand before a STATE."""
        self.counts.good_at_state = self._ordinal

    def finish(self) -> list[StagedFile]:
        """Close the files of this stream and return them, those of an adopted checkpoint first.

        Raises:
            TargetError: they cannot be written.
        """
        with lake_errors(address(self.plan)):
            return [*self._adopted, *(f for w in self._writers for f in w.close())]

    def sort(self, files: list[StagedFile], unwanted: Positions) -> list[StagedFile]:
        """The wanted rows of staged files in the plan's order, file by file.

        Raises:
            TargetError: they cannot be written.
        """
        gone = {f.file_path: positions for f, positions in unwanted.by_file}
        none = np.empty(0, np.int64)
        for f in files:
            path, stage, plan = f.data_file.file_path, self.stage, self.plan
            with lake_errors(address(plan)):
                made = sorted_file(
                    stage.table, stage.schema, f, plan.sort_by, stage.sort_order_id, gone.get(path, none), self._run_id
                )
            if made is not None:
                self._sorted.append(made)
        return self._sorted

    def tombstones(self) -> list[StagedFile]:
        """Close the files with keys of deleted rows and return them.

        Raises:
            TargetError: they cannot be written.
        """
        with lake_errors(address(self.plan)):
            return self._tombstones.close()

    def discard(self) -> None:
        """Delete what was staged; no commit has been attempted with it. What a checkpoint names stays."""
        for w in self._writers:
            w.abort(self._known_elsewhere)
        self._tombstones.abort(self._known_elsewhere)
        if self.keys is not None:
            self.keys.discard()
        for f in self._sorted:
            with contextlib.suppress(OSError):
                self.stage.table.io.delete(f.data_file.file_path)

    def clean_up(self) -> None:
        """Delete what a publish leaves behind: keys of deleted rows, and files of which others were made."""
        self._tombstones.abort(self._known_elsewhere)
        if self.keys is not None:
            self.keys.discard()
        if self.plan.file_format != "parquet":
            self.discard()
        elif self._sorted:
            for w in self._writers:
                w.abort(self._known_elsewhere)

    # -- checkpoints ------------------------------------------------------------------------------------------------------

    def checkpoint(self, journal: Journal, run_id: str) -> StreamCheckpoint:
        """Close what is staged and describe it, so that another run can go on from here.

        Raises:
            TargetError: files cannot be written.
        """
        files, tombstones = self.finish(), self.tombstones()
        self._known_elsewhere.update(f.data_file.file_path for f in (*files, *tombstones))
        c = self.counts
        name = quote(self.plan.stream, safe="")
        data_files = [f.data_file for f in files]
        manifests = journal.write_manifests(run_id, name, data_files, self.stage.specs, self.stage.schema)
        return StreamCheckpoint(
            n=self.stage.start_n,
            steps=self.stage.steps,
            counts=SinkCounts(
                read=c.read,
                rejected=c.rejected,
                good=c.good,
                bytes_in=c.bytes_in,
                by_rule=dict(c.by_rule),
                warnings=dict(c.warnings),
                fields_dropped=dict(c.fields_dropped),
                rules=c.rules,
            ),
            files=tuple(file_entry(f) for f in files),
            manifests=manifests,
            tombstones=tuple(file_entry(f) for f in tombstones),
            tombstone_manifests=journal.write_manifests(
                run_id,
                f"{name}-tombstones",
                [f.data_file for f in tombstones],
                {0: UNPARTITIONED},
                self._tombstones.schema,
            )
            if tombstones
            else {},
            activated=self.activated,
            lowest_version=self.lowest_version,
            rejects=tuple(self.rejects),
            source_files=tuple(sorted(self.source_files)),
        )

    def go_on_from(self, checkpoint: StreamCheckpoint, files: list[StagedFile], tombstones: list[StagedFile]) -> None:
        """Take over what another run has staged; nothing may have been staged yet."""
        self._adopted = files
        self._known_elsewhere.update(f.data_file.file_path for f in (*files, *tombstones))
        self._tombstones.go_on_from(tombstones)
        self.activated, self.lowest_version = checkpoint.activated, checkpoint.lowest_version
        self._ordinal = max((f.end for f in (*files, *tombstones)), default=0)
        c, known = self.counts, checkpoint.counts
        c.read, c.rejected, c.good, c.bytes_in = known.read, known.rejected, known.good, known.bytes_in
        c.by_rule, c.warnings = Counter(known.by_rule), Counter(known.warnings)
        c.fields_dropped, c.rules = Counter(known.fields_dropped), dict(known.rules)
        for r in checkpoint.rejects:
            self.listing.add(r)
            c.examples.setdefault(r.rule, r)
        self.source_files = set(checkpoint.source_files)
        self._writers = []
        self.adopt(self.plan, self.stage)
        self.mark_state()

    def _keys_cross_partitions(self) -> bool:
        """The same key may lie in several partitions, so that files alone do not tell which row came last."""
        sources = {self.stage.schema.find_column_name(f.source_id) for f in self.stage.spec.fields}
        return bool(sources) and bool(self.plan.key) and not sources <= set(self.plan.key)

    def _first_of_twins(self, table: pa.Table) -> pa.Table:
        """Keep the first row of each key of a chunk and reject the others, where files would not tell which came first."""
        rule = key_rule(self.plan)
        rows = pa.array(np.arange(table.num_rows, dtype=np.int64))
        keys = table.select(list(self.plan.key)).append_column("__row", rows)
        first = np.sort(keys.group_by(list(self.plan.key)).aggregate([("__row", "min")])["__row_min"].to_numpy())
        if len(first) == table.num_rows:
            return table
        later = table.take(pa.array(np.delete(np.arange(table.num_rows), first)))
        self.reject_staged(rule, later.num_rows, reject_rows(self.plan, rule, later))
        return table.take(pa.array(first))

    def _without_twins(self, table: pa.Table) -> pa.Table:
        """Keep the last row of each key of a chunk, where files would not tell which row came last."""
        rows = pa.array(np.arange(table.num_rows, dtype=np.int64))
        keys = table.select(list(self.plan.key)).append_column("__row", rows)
        last = keys.group_by(list(self.plan.key)).aggregate([("__row", "max")])["__row_max"]
        return table.take(pa.array(np.sort(last.to_numpy())))
