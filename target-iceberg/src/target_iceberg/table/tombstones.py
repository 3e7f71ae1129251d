"""Keys of rows that the source has deleted, staged beside the rows of a run; never part of a table.

They take part in finding the last row of a key and the rows of the table that go, and are removed when the run is over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC as UNPARTITIONED
from pyiceberg.schema import Schema

from target_iceberg.load_plan import DELETED_AT
from target_iceberg.table.writer import DataFileWriter

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa

    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.stage import Stage
    from target_iceberg.table.writer import StagedFile

__all__ = ["UNPARTITIONED", "Tombstones"]


class Tombstones:
    """The deletions of one stream.

    Args:
        run_id: begins the names of files.
    """

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._stage: Stage | None = None
        self._adopted: list[StagedFile] = []
        self._writers: list[DataFileWriter] = []
        self._is_open = False
        self.wanted = False
        """Rows that the source has deleted leave the table; otherwise they are rows like others."""
        self.schema = Schema()
        """Key columns of the table."""

    def adopt(self, plan: StreamPlan, stage: Stage) -> None:
        """Go on with another shape of the stream."""
        self._stage, self._is_open = stage, False
        has_column = any(c.name == DELETED_AT for c in plan.columns)
        self.wanted = plan.hard_delete and has_column and (plan.write_mode == "replace" or deletes_by_key(plan))
        fields = [stage.schema.find_field(k) for k in plan.key]
        self.schema = (
            Schema(*fields) if fields else Schema(stage.schema.find_field(DELETED_AT)) if has_column else Schema()
        )

    @property
    def rows(self) -> int:
        """How many deletions."""
        return sum(int(f.data_file.record_count) for f in self._adopted) + sum(w.rows for w in self._writers)

    def write(self, rows: pa.Table, at: int) -> int:
        """Take deleted rows; returns how many.

        Args:
            rows: with the key columns.
            at: ordinal of the first.

        Raises:
            OSError: they cannot be written.
        """
        assert self._stage is not None
        if not self._is_open:
            table, size = self._stage.table, 128 << 20
            self._writers.append(DataFileWriter(table, self.schema, UNPARTITIONED, size, f"{self._run_id}-deleted"))
            self._is_open = True
        self._writers[-1].write(rows.select([f.name for f in self.schema.fields]), at=at)
        return int(rows.num_rows)

    def close(self) -> list[StagedFile]:
        """Close all files and return them, those of an adopted checkpoint first."""
        return [*self._adopted, *(f for w in self._writers for f in w.close())]

    def abort(self, keep: Collection[str]) -> None:
        """Delete what was written, except for paths that somebody else may know."""
        for w in self._writers:
            w.abort(keep)
        self._writers, self._is_open = [], False

    def go_on_from(self, files: list[StagedFile]) -> None:
        """Take over what another run has staged."""
        self._adopted = files


def deletes_by_key(plan: StreamPlan) -> bool:
    """A deleted row is found by its key."""
    return bool(plan.key) and plan.write_mode == "upsert"
