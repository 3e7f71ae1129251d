"""The columns that Singer targets add to each record: when it was read and received, in which order, and whether it is gone.

Names and meanings are those of the Singer SDK, so that whoever changes targets finds the same columns.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.load_plan import DELETED_AT, INGEST_DATE, RECORD_METADATA, TABLE_VERSION

if TYPE_CHECKING:
    from target_iceberg.load_plan import StreamPlan

ENVELOPE_FIELDS = {"_sdc_extracted_at": "time_extracted", TABLE_VERSION: "version"}
"""Column -> field of the RECORD message that it is taken from, unless the record itself carries the column."""
_STARTED_MS = time.time_ns() // 1_000_000
_MS_PER_DAY = 86_400_000
_INSTANT = pa.timestamp("us", tz="UTC")


class RecordMetadata:
    """Fills the metadata columns of one stream's tables.

    Args:
        plan: of the stream; what neither `record_metadata` nor `ingest_date` asks for is not filled.
    """

    def __init__(self, plan: StreamPlan) -> None:
        names = {c.name for c in plan.columns} if plan.record_metadata else set()
        self._names = names & {c.name for c in RECORD_METADATA}
        if plan.ingest_date:
            self._names |= {INGEST_DATE}

    def filled(self, table: pa.Table) -> pa.Table:
        """The table with what this process knows: when rows came, and in which order chunks did."""
        if not self._names or not table.num_rows:
            return table
        now_us = time.time_ns() // 1_000
        known = {
            "_sdc_received_at": pa.scalar(now_us, _INSTANT),
            "_sdc_batched_at": pa.scalar(now_us, _INSTANT),
            "_sdc_sequence": pa.scalar(now_us // 1_000, pa.int64()),
            "_sdc_sync_started_at": pa.scalar(_STARTED_MS, pa.int64()),
            INGEST_DATE: pa.scalar(_STARTED_MS // _MS_PER_DAY, pa.date32()),
        }
        for name, value in known.items():
            if name in self._names:
                table = table.set_column(table.column_names.index(name), name, pa.repeat(value, table.num_rows))
        return table


def deleted_rows(table: pa.Table) -> pa.Array | None:
    """Which rows say that the source has deleted them, `(n_rows,)` boolean; None: no row does."""
    if DELETED_AT not in table.column_names or table[DELETED_AT].null_count == table.num_rows:
        return None
    return pc.is_valid(table[DELETED_AT]).combine_chunks()
