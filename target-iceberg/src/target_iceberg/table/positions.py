"""Rows by their positions in data files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.table.parquet_columns import opened_parquet

if TYPE_CHECKING:
    from pyiceberg.io import FileIO
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import FileScanTask

_BATCH_ROWS = 131_072


@dataclass
class Positions:
    """Rows to delete: positions per data file, `(n,)` int64 ascending."""

    by_file: list[tuple[DataFile, np.ndarray]] = field(default_factory=list)

    def add(self, file: DataFile, positions: np.ndarray) -> None:
        """Add positions of one file; empty ones are ignored."""
        if len(positions):
            self.by_file.append((file, np.sort(positions)))

    def merged(self) -> Positions:
        """Each file once, each of its positions once."""
        by_path: dict[str, tuple[DataFile, list[np.ndarray]]] = {}
        for file, positions in self.by_file:
            by_path.setdefault(file.file_path, (file, []))[1].append(positions)
        return Positions(
            [(file, p[0] if len(p) == 1 else np.unique(np.concatenate(p))) for file, p in by_path.values()]
        )

    @property
    def rows(self) -> int:
        """How many rows."""
        return sum(len(p) for _, p in self.by_file)


def live_positions(io: FileIO, task: FileScanTask, positions: list[np.ndarray]) -> np.ndarray:
    """Those of the positions that no delete file has taken away, each once, ascending, `(n,)` int64."""
    wanted = np.zeros(task.file.record_count, dtype=bool)
    for part in positions:
        wanted[part] = True
    wanted[deleted_positions(io, task.file.file_path, task.delete_files)] = False
    return np.flatnonzero(wanted)


def deleted_positions(io: FileIO, path: str, delete_files: set[DataFile]) -> np.ndarray:
    """Positions in a data file that its position delete files take away, `(n,)` int64."""
    gone = [np.empty(0, np.int64)]
    for file in delete_files:
        with opened_parquet(io, file.file_path) as parquet:
            for batch in parquet.iter_batches(_BATCH_ROWS, columns=["file_path", "pos"]):
                mine = batch.filter(pc.equal(batch.column("file_path").cast(pa.string()), path))
                gone.append(mine.column("pos").to_numpy())
    return np.concatenate(gone)
