"""Replaying rejects: stored records, corrected or under a changed contract, judged again and published exactly once.

A replay is a publish of a stream of its own in the same table, `<stream>__replay`, whose bookmark names the rejects that it
brought. So two replays at once overtake each other as two runs do, and a replay that was killed between its rows and its mark
is completed by the next: the bookmark says which rejects are to be marked (protocol, rule 26).
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.records.rejects import Room
from target_iceberg.run_report import new_run_id
from target_iceberg.singer.stream import StreamSink
from target_iceberg.stages import passing
from target_iceberg.table import evolve
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.newer_rows import keys_written_since
from target_iceberg.table.positions import Positions
from target_iceberg.table.publisher import StreamPublish, publish_table
from target_iceberg.table.rejects_table import mark_rejects
from target_iceberg.table.rejects_view import REPLAYED, rejects_of, without_masks
from target_iceberg.table.stage import address, open_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.rejects_view import Reject
    from target_iceberg.table.stage import Lakehouse

MAX_REJECTS = 5_000
"""Of one publish: the bookmark names them all."""
SUFFIX = "__replay"


@dataclass
class Replayed:
    """What came of a replay of one stream."""

    stream: str
    published: int = 0
    completed: int = 0
    """Rejects of an earlier replay that had published and not marked them."""
    superseded: int = 0
    """A later one of the same key was replayed with them."""
    newer: int = 0
    """The table has a newer row of the key; it stays."""
    still_broken: dict[str, int] = field(default_factory=dict)
    """Rule -> rejects that still break it; they stay open."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Why rejects cannot be replayed -> how many."""
    snapshot_id: int | None = None


@dataclass
class _Judged:
    reject: Reject
    row: pa.Table


def replay_stream(
    lake: Lakehouse,
    plan: StreamPlan,
    wanted: Callable[[Reject], bool],
    corrections: Mapping[str, Mapping[str, Any]],
    mask_key: bytes | None,
    *,
    dry_run: bool = False,
) -> Replayed:
    """Replay the wanted rejects of a stream, those of a killed replay first.

    Args:
        lake: where the tables lie.
        plan: of the stream, with the contract as it is now.
        wanted: which of the open rejects.
        corrections: reject id -> fields that replace those of the record.
        mask_key: key of columns that are hashed.
        dry_run: judge and publish nothing.

    Raises:
        TargetError: the table is refused, or the lake cannot be written.
        RetryableError: a run or another replay published meanwhile.
    """
    found, run_id = Replayed(plan.stream), new_run_id()
    with lake_errors(address(plan)):
        table = lake.load(plan)
        if table is None:
            return found
        further = evolve.further_columns(plan, table.schema())
        plan = msgspec.structs.replace(plan, columns=(*plan.columns, *further))
    # Before anything is looked at: whoever publishes a replay from here on is noticed by compare and set.
    stage = open_stage(lake, _replay_plan(plan))
    done = _brought_by(stage.start)
    if not dry_run and stage.start is not None:
        found.completed = _complete(lake, plan, done, stage.start.run_id, run_id)
    chosen: list[Reject] = []
    for reject in rejects_of(lake, plan):
        if reject.status == "open" and reject.id not in done and wanted(reject):
            if reject.not_replayable is None:
                chosen.append(reject)
            else:
                found.left_out[reject.not_replayable] = found.left_out.get(reject.not_replayable, 0) + 1
    if len(chosen) > MAX_REJECTS:
        why = f"more than {MAX_REJECTS:,} at once; replay again for the rest"
        found.left_out[why] = len(chosen) - MAX_REJECTS
        chosen = chosen[:MAX_REJECTS]
    if not chosen:
        return found
    sink = StreamSink(plan, stage, run_id, max_listed=MAX_REJECTS, strict=False, key=mask_key, room=Room(sys.maxsize))
    texts = {c.name for c in further if c.type == "string"}
    tried = (_judge(sink, r, plan, texts, corrections.get(r.id or "", {}), found) for r in chosen)
    judged = _older_ones(lake, plan, [j for j in tried if j is not None], found)
    if dry_run or not judged:
        found.published = len(judged)
        return found
    with lake_errors(address(plan)):
        _publish(lake, plan, sink, judged, run_id, found)
    return found


def _replay_plan(plan: StreamPlan) -> StreamPlan:
    has_key = bool(plan.key) and plan.write_mode in ("upsert", "replace")
    return msgspec.structs.replace(
        plan,
        stream=plan.stream + SUFFIX,
        write_mode="upsert" if has_key else "append",
        replace_files=False,
        adopt=True,
        sort_by=(),
        fingerprint="replay",
    )


def _brought_by(mark: Bookmark | None) -> set[str]:
    """Ids of the rejects that the last replay has published."""
    return set() if mark is None or not mark.state else set(mark.state["bookmark"]["rejects"])


def _complete(lake: Lakehouse, plan: StreamPlan, done: set[str], by: str, run_id: str) -> int:
    """Mark what the last replay has published, if it was killed before it could."""
    ids: list[str | None] = [r.id for r in rejects_of(lake, plan) if r.id in done and r.status != REPLAYED]
    return mark_rejects(lake, plan, ids, REPLAYED, by, run_id) if ids else 0


def _judge(
    sink: StreamSink,
    reject: Reject,
    plan: StreamPlan,
    texts: set[str],
    correction: Mapping[str, Any],
    found: Replayed,
) -> _Judged | None:
    record = {**without_masks(json.loads(reject.record), plan.columns), **correction}
    for name in texts & record.keys():
        if not isinstance(record[name], (str, type(None))):  # the table keeps it as JSON text
            record[name] = json.dumps(record[name], ensure_ascii=False, separators=(",", ":"))
    line = json.dumps({"type": "RECORD", "stream": plan.stream, "record": record}, ensure_ascii=False).encode() + b"\n"
    verdict = sink.evaluate_records(line, 1)
    if verdict.good.num_rows:
        return _Judged(reject, verdict.good)
    for rule in verdict.counts:
        found.still_broken[rule] = found.still_broken.get(rule, 0) + 1
    return None


def _older_ones(lake: Lakehouse, plan: StreamPlan, judged: list[_Judged], found: Replayed) -> list[_Judged]:
    """Without those whose key has a row that was written after their run; of one key the last one."""
    if not plan.key or plan.write_mode == "append":
        return judged
    last = {_key(j, plan): j for j in judged}
    found.superseded = len(judged) - len(last)
    with lake_errors(address(plan)):
        table = lake.load(plan)
        newer: set[tuple[Any, ...]] = set()
        for n in {j.reject.n for j in judged} if table is not None else ():
            keys = {k for k, j in last.items() if j.reject.n == n}
            newer |= keys_written_since(lake, table, plan, n, keys)
    found.newer = len(newer)
    return [j for k, j in last.items() if k not in newer]


def _key(judged: _Judged, plan: StreamPlan) -> tuple[Any, ...]:
    return tuple(judged.row[k][0].as_py() for k in plan.key)


def _publish(
    lake: Lakehouse, plan: StreamPlan, sink: StreamSink, judged: list[_Judged], run_id: str, found: Replayed
) -> None:
    table = lake.load(plan)
    mark = None if table is None else lake.bookmark(table.metadata, plan.stream)
    start_n = mark.n if mark else 0

    def overtaken(now: Any) -> Positions:
        current = lake.bookmark(now.metadata, plan.stream)
        if (current.n if current else 0) != start_n:
            raise RetryableError(f"{address(plan)}: a run published meanwhile; replay again", "overtaken")
        return Positions()

    ids = [j.reject.id for j in judged]
    sink.stage_rows(pa.concat_tables([j.row for j in judged]))
    files = sink.finish()
    publish = StreamPublish(
        sink.stage,
        files,
        {"bookmark": {"rejects": ids, "run": run_id}},
        receipt={f"dativo.stream.{plan.stream}{SUFFIX}.published": str(len(judged)), "dativo.replay": plan.stream},
        also_delete=overtaken,
    )
    try:
        done = publish_table(lake, [publish], run_id, run_id)
    except (RetryableError, TargetError):
        sink.discard()
        raise
    passing("replay_published")
    found.published, found.snapshot_id = len(judged), done.snapshot_id
    mark_rejects(lake, plan, ids, REPLAYED, run_id, run_id)
