"""Which rows of a statement were sent already, so that it can be asked again when its server went away in the middle of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_kit.lanes import Misfit

MAX_KEYS = 4_000_000
"""Keys beyond it are not remembered (32 MB of whole numbers); then a statement cannot be asked again."""
MAX_BYTES = 64 << 20


class SentKeys:
    """Keys of the rows that a statement has sent.

    Args:
        has_key: the rows have a key that is unique; without one nothing can be told apart.
    """

    def __init__(self, *, has_key: bool) -> None:
        self._has_key = has_key
        self._parts: list[pa.Array] = []
        self._rows = self._bytes = 0
        self._known: pa.Array | None = None

    @property
    def can_go_on(self) -> bool:
        """Whether rows that come again would be recognised."""
        return not self._rows or (self._has_key and self._rows <= MAX_KEYS and self._bytes <= MAX_BYTES)

    def ask_again(self) -> None:
        """From here on, rows that were sent come once more."""
        self._known = pa.concat_arrays(self._parts) if self._parts else None

    def clear(self) -> None:
        """The statement has come to its end."""
        self._parts.clear()
        self._rows = self._bytes = 0
        self._known = None

    def new(self, rows: pa.Table, misfits: Sequence[Misfit], keys: Sequence[pa.Array]) -> tuple[pa.Table, list[Misfit]]:
        """The rows that were not sent yet, which are from now on."""
        key = _one(keys)
        if self._known is not None and key is not None:
            fresh = pc.invert(pc.is_in(key, self._known))
            if not pc.all(fresh).as_py():
                positions = pc.indices_nonzero(fresh)
                at = {old: new for new, old in enumerate(positions.to_pylist())} if misfits else {}
                misfits = [m._replace(row=at[m.row]) for m in misfits if m.row in at]
                rows, key = rows.take(positions), key.take(positions)
        self._rows += rows.num_rows
        if key is not None and self.can_go_on:
            # A copy: a column that a driver has handed over keeps its whole batch in memory.
            self._parts.append(pa.concat_arrays([key, key.slice(0, 0)]))
            self._bytes += key.nbytes
        elif self._parts:
            self._parts.clear()
        return rows, list(misfits)


def _one(keys: Sequence[pa.Array]) -> pa.Array | None:
    if not keys:
        return None
    if len(keys) == 1:
        return keys[0]
    texts = [pc.cast(k, pa.string()) for k in keys]
    lengths = [pc.cast(pc.binary_length(t), pa.string()) for t in texts]  # so that ("a", "bc") is not ("ab", "c")
    return pc.binary_join_element_wise(*lengths, *texts, "\x1f")
