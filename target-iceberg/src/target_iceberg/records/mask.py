"""Values of classified columns replaced before anything touches a disk: vectorised, one way per column."""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from target_iceberg.errors import TargetError
from target_iceberg.records.columns import nulls
from target_iceberg.types import arrow_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_iceberg.load_plan import Column, LoadPlan, StreamPlan

REDACTED = "***"
KEPT_CHARACTERS = 4
"""What `truncate` leaves of a text."""


def mask_key(plan: LoadPlan, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """The tenant's key, where the plan hashes columns.

    Raises:
        TargetError: it is not in the environment.
    """
    if plan.mask_key_env is None:
        return None
    value = environ.get(plan.mask_key_env)
    if not value:
        raise TargetError(
            f"{plan.mask_key_env}: columns of tenant {plan.tenant} are hashed, and the key is not there; put it below "
            f"secrets/{plan.tenant}/ or into the environment",
            "configuration",
        )
    return value.encode()


class Masker:
    """Masks the rows of one stream.

    Args:
        plan: of the stream; columns say how they are masked.
        key: the tenant's key for `hash`; only asked for where a column needs it.
    """

    def __init__(self, plan: StreamPlan, key: bytes | None) -> None:
        self._columns = [c for c in plan.columns if _is_masked(c)]
        self._key = key

    def masked(self, table: pa.Table) -> pa.Table:
        """The table without the values that must not be seen; NULL stays NULL."""
        for column in self._columns:
            at = table.column_names.index(column.name)
            array = table.column(at).combine_chunks()
            table = table.set_column(at, table.schema.field(at), self._array(array, column))
        return table

    def _array(self, array: Any, column: Column) -> Any:
        if isinstance(array, pa.ChunkedArray):  # more than 2 GB of text
            return pa.chunked_array([self._array(c, column) for c in array.chunks], array.type)
        if column.mask == "null":
            return nulls(len(array), column)
        if column.mask is not None:
            return self._text(array, column.mask)
        if column.type == "struct":
            members = [
                self._array(child, c) if _is_masked(c) else child
                for child, c in zip(array.flatten(), column.fields, strict=True)
            ]
            mask = array.is_null() if array.null_count else None
            return pa.StructArray.from_arrays(members, fields=list(arrow_type(column)), mask=mask)
        inner = array.values if column.type == "list" else array.items
        items = self._array(inner, column.fields[-1])
        mask = array.is_null() if array.null_count else None
        offsets = array.offsets
        if column.type == "list":
            return pa.ListArray.from_arrays(offsets, items, type=array.type, mask=mask)
        return pa.MapArray.from_arrays(offsets, array.keys, items, type=array.type, mask=mask)

    def _text(self, array: pa.Array, mask: str) -> pa.Array:
        if mask == "redact":
            return pc.if_else(pc.is_valid(array), REDACTED, pa.scalar(None, pa.string()))
        if mask == "truncate":
            return pc.utf8_slice_codeunits(array, 0, KEPT_CHARACTERS)
        assert self._key is not None  # the run refuses to start without
        encoded = pc.dictionary_encode(array)
        values = [None if v is None else self._hash(v) for v in encoded.dictionary.to_pylist()]
        return pc.take(pa.array(values, pa.string()), encoded.indices)

    def _hash(self, value: str) -> str:
        assert self._key is not None
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()


def _is_masked(column: Column) -> bool:
    return column.mask is not None or any(_is_masked(c) for c in column.fields)
