"""Files of a BATCH message as Arrow tables of bounded size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from singer_arrow import ENCODING_FORMAT, open_batch
from target_iceberg.errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_iceberg.singer.messages import Batch

TABLE_ROWS = 131_072


def require_known_encoding(message: Batch) -> None:
    """Refuse what cannot be read, before anything of it is.

    Raises:
        TargetError: the encoding is none of those that are known.
    """
    if message.encoding.format != ENCODING_FORMAT:
        raise TargetError(
            f"stream {message.stream}: BATCH encoding {message.encoding.format!r} is not understood; known is "
            f"{ENCODING_FORMAT!r}; take batch_config out of the tap's configuration to send records",
            "source",
        )


def batch_tables(message: Batch, uri: str) -> Iterator[pa.Table]:  # noqa: ARG001  other encodings read it
    """The rows of one file of a batch."""
    with open_batch(uri) as reader:
        group: list[pa.RecordBatch] = []
        for batch in reader:
            group.append(batch)
            if sum(b.num_rows for b in group) >= TABLE_ROWS:
                yield pa.Table.from_batches(group)
                group = []
        if group:
            yield pa.Table.from_batches(group)
