"""Staged rows that must not become visible: superseded, deleted or outdated in the same run, or after the last STATE."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

from target_iceberg.load_plan import TABLE_VERSION
from target_iceberg.records.staged_rows import StagedRows, count_duplicates
from target_iceberg.table.key_index import KeyIndex
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.positions import Positions
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    from target_iceberg.singer.stream import StreamSink
    from target_iceberg.table.writer import StagedFile


@dataclass
class Unwanted:
    """What of a stream's staged rows is not for the table, each row under one count."""

    positions: Positions = field(default_factory=Positions)
    superseded: int = 0
    """A later record of the run has the same key."""
    deleted: int = 0
    """The source says that the row is gone."""
    withheld: int = 0
    """Appended after the tap's last STATE, so that the next run reads them again."""


def unwanted_rows(sink: StreamSink, files: list[StagedFile], tombstones: list[StagedFile]) -> Unwanted:
    """Look through what is staged.

    Args:
        sink: of the stream.
        files: its data files.
        tombstones: files with keys of deleted rows.
    """
    found = Unwanted(superseded=sink.counts.good - sink.staged_rows)
    gone = {f.data_file.file_path for f in tombstones}
    for file, positions in _superseded(sink, files, tombstones).by_file:
        found.superseded += len(positions)
        if file.file_path in gone:
            found.deleted -= len(positions)
        else:
            found.positions.add(file, positions)
    found.deleted += sum(int(f.data_file.record_count) for f in tombstones)
    if sink.activated is not None and sink.lowest_version is not None and sink.lowest_version < sink.activated:
        found.deleted += _add(found.positions, _outdated(sink, files, sink.activated))
    if sink.plan.write_mode == "append" and sink.counts.good_at_state is not None:
        found.withheld = _add(found.positions, _rows_from(files, sink.counts.good_at_state))
    return found


def rows_of(sink: StreamSink, files: list[StagedFile]) -> StagedRows:
    """The rows of files that a sink has staged, under the plan's names."""
    io = sink.stage.table.io
    return StagedRows([f.data_file.file_path for f in files], lambda path: io.new_input(path).open(), sink.file_columns)


def _superseded(sink: StreamSink, files: list[StagedFile], tombstones: list[StagedFile]) -> Positions:
    """Staged rows and deletions of which a later one of the same key was staged too."""
    plan, io = sink.plan, sink.stage.table.io
    staged = [*files, *tombstones]
    if not plan.key or plan.write_mode == "append" or not staged:
        return Positions()
    with lake_errors(address(plan)):
        # Sorted hashes prove in little memory that no key came twice, which is what nearly always is.
        if not count_duplicates(rows_of(sink, staged), plan.key)[0]:
            return Positions()
        ids = [sink.stage.schema.find_field(k).field_id for k in plan.key]
        with KeyIndex(io, staged, ids) as index:
            return index.superseded()


def _outdated(sink: StreamSink, files: list[StagedFile], version: int) -> Positions:
    found, name = Positions(), sink.file_columns[TABLE_VERSION]
    with lake_errors(address(sink.plan)):
        for f in files:
            with (
                sink.stage.table.io.new_input(f.data_file.file_path).open() as stream,
                pq.ParquetFile(stream) as parquet,
            ):
                if name not in parquet.schema_arrow.names:
                    continue
                versions = parquet.read([name]).column(0).fill_null(version).to_numpy()
            found.add(f.data_file, np.flatnonzero(versions < version))
    return found


def _rows_from(files: list[StagedFile], first: int) -> Positions:
    late = Positions()
    for f in files:
        late.add(f.data_file, np.flatnonzero(f.ordinals() >= first))
    return late


def _add(known: Positions, more: Positions) -> int:
    """Put further positions to those that are known; returns how many were new."""
    before = {file.file_path: positions for file, positions in known.by_file}
    added = 0
    for file, positions in more.by_file:
        fresh = np.setdiff1d(positions, before.get(file.file_path, []))
        added += len(fresh)
        known.add(file, fresh)
    return added
