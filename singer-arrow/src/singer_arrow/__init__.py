"""Arrow IPC as a Singer BATCH encoding. The launcher `dativo-tap` lives in `singer_arrow.launcher`.

Importing this package loads nothing: the names below are looked up when first used, and pyarrow when the first file
is written or opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from singer_arrow.batches import (
        ENCODING,
        ENCODING_FORMAT,
        BatchError,
        BatchWriter,
        ReaderGoneError,
        batch_directory,
        open_batch,
        remove,
    )

__all__ = [
    "ENCODING",
    "ENCODING_FORMAT",
    "BatchError",
    "BatchWriter",
    "ReaderGoneError",
    "batch_directory",
    "open_batch",
    "remove",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from singer_arrow import batches

    return getattr(batches, name)
