"""The bookmark: where a stream of a job stands, kept as a property of the table that it describes.

Rules: docs/explanation/state.md. A property moves only together with a snapshot, so the catalog's own requirement on
the branch head guards it against lost updates.
"""

from __future__ import annotations

import base64
import gzip
import json
from typing import TYPE_CHECKING, Any

import msgspec

from target_iceberg.errors import TargetError

if TYPE_CHECKING:
    from pyiceberg.table.metadata import TableMetadata

PREFIX = "dativo.state."
SUMMARY_PREFIX = "dativo.bookmark."
_COMPRESS_ABOVE_BYTES = 64 << 10
_MAX_BYTES = 4 << 20
_GZIP = "gzip:"


class Bookmark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where one stream of one job stands."""

    n: int
    """Grows by one with each publish or reset."""
    commit_id: str
    snapshot_id: int
    sequence_number: int
    run_id: str
    fingerprint: str
    state: Any = None
    """{"bookmark": the stream's own part of the Singer state, "rest": what else stood in that STATE message}; None after a
    reset or when the tap sent no STATE."""


def property_name(tenant: str, job: str, stream: str) -> str:
    """Name of the table property of one stream of one job."""
    return f"{PREFIX}{tenant}.{job}.{stream}"


def encode(bookmark: Bookmark) -> str:
    """Text of a bookmark; compressed when large.

    Raises:
        TargetError: larger than a catalog property may safely be.
    """
    raw = msgspec.json.encode(bookmark)
    if len(raw) <= _COMPRESS_ABOVE_BYTES:
        return raw.decode()
    packed = _GZIP + base64.b64encode(gzip.compress(raw, mtime=0)).decode()
    if len(packed) > _MAX_BYTES:
        raise TargetError(
            f"the bookmark is {len(packed) >> 20} MB large, more than a table property may hold "
            f"({_MAX_BYTES >> 20} MB); split the job into fewer files or streams",
            "refused",
        )
    return packed


def decode(text: str) -> Bookmark:
    """Read what `encode` wrote."""
    raw = gzip.decompress(base64.b64decode(text[len(_GZIP) :])) if text.startswith(_GZIP) else text.encode()
    return msgspec.json.decode(raw, type=Bookmark)


def held(metadata: TableMetadata, tenant: str, job: str, stream: str) -> Bookmark | None:
    """The bookmark in the table's properties, whatever its snapshots say."""
    text = metadata.properties.get(property_name(tenant, job, stream))
    return None if text is None else decode(text)


def read(metadata: TableMetadata, tenant: str, job: str, stream: str) -> Bookmark | None:
    """The bookmark that is in force.

    The property, unless somebody rolled the table back behind it: then the newest receipt among the ancestors of the
    current snapshot, with the property's n, so that n never falls.

    Raises:
        TargetError: rolled back to a time of which no receipt of this stream remains.
    """
    bookmark = held(metadata, tenant, job, stream)
    if bookmark is None:
        return None
    snapshots = {s.snapshot_id: s for s in metadata.snapshots}
    key = SUMMARY_PREFIX + f"{tenant}.{job}.{stream}"
    current = metadata.current_snapshot_id
    oldest_sequence_number, receipt = None, None
    while current is not None and (snapshot := snapshots.get(current)) is not None:
        if current == bookmark.snapshot_id:
            return bookmark
        oldest_sequence_number = snapshot.sequence_number
        if receipt is None and snapshot.summary is not None:
            receipt = snapshot.summary.additional_properties.get(key)
        current = snapshot.parent_snapshot_id
    expired = (
        current is not None and oldest_sequence_number is not None and oldest_sequence_number > bookmark.sequence_number
    )
    if expired:
        return bookmark
    if receipt is None:
        raise TargetError(
            f"stream {stream}: the table was rolled back behind its last publish and no earlier receipt of this job "
            f"is left; say where to go on: dativo state reset --config <job> or dativo run --full-refresh",
            "refused",
        )
    earlier = decode(receipt)
    return msgspec.structs.replace(earlier, n=bookmark.n)


def merge_states(bookmarks: dict[str, Bookmark | None], *, resume_from_oldest: bool) -> dict[str, Any]:
    """The Singer state that a job's bookmarks add up to.

    Args:
        bookmarks: per stream, None where there is none.
        resume_from_oldest: every stream may be read again from an older state (upsert, replace).

    Raises:
        TargetError: the state is one unit (the tap keeps more than bookmarks in it) and the tables stand at different runs.
    """
    held = {s: b for s, b in bookmarks.items() if b is not None and b.state is not None}
    parts = {s: b.state["bookmark"] for s, b in held.items() if b.state.get("bookmark") is not None}
    state: dict[str, Any] = {"bookmarks": parts} if parts else {}
    rests = {s: b for s, b in held.items() if b.state.get("rest")}
    if not rests:
        return state
    if len({b.run_id for b in held.values()}) > 1 and not resume_from_oldest:
        raise TargetError(
            "the tap keeps its state as one unit, and the tables of this job stand at different runs; load one table "
            "per job, or use upsert or replace",
            "refused",
        )
    oldest = min(rests.values(), key=lambda b: b.run_id)  # UUIDv7: text order is time order
    return {**state, **oldest.state["rest"]}


def split_state(state: dict[str, Any], stream: str) -> dict[str, Any]:
    """What of a STATE message belongs to one stream: its own bookmark and the rest."""
    own = state.get("bookmarks")
    rest = {k: v for k, v in state.items() if k not in ("bookmarks", "currently_syncing")}
    part: dict[str, Any] = {"bookmark": own.get(stream) if isinstance(own, dict) else None}
    if not isinstance(own, dict) and own is not None:
        rest["bookmarks"] = own
    if rest:
        part["rest"] = rest
    return part


def same(a: Any, b: Any) -> bool:
    """Whether two states say the same; an absent one equals an empty one."""
    return json.dumps(a or {}, sort_keys=True) == json.dumps(b or {}, sort_keys=True)


def in_progress(value: Any) -> bool:
    """Whether a tap has marked a bookmark as not yet valid, however deep (the SDK does, for unsorted streams)."""
    if isinstance(value, dict):
        return "progress_markers" in value or any(in_progress(v) for v in value.values())
    return isinstance(value, list) and any(in_progress(v) for v in value)
