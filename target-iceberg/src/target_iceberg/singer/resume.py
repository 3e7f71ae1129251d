"""Where a run starts: from what the lake holds, from a checkpoint, or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.singer.checkpoints import Checkpoints
from target_iceberg.singer.log import event
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.stage import address, open_stage, read_bookmarks

if TYPE_CHECKING:
    from target_iceberg.load_plan import LoadPlan
    from target_iceberg.singer.run import Run
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.journal import Found
    from target_iceberg.table.stage import Stage


def begin(run: Run, plan: LoadPlan) -> dict[str, Bookmark | None]:
    """Check that the tap started from what the lake holds, or go on from the checkpoint that it started from.

    Returns:
        The bookmark that each stream has to be published on top of.

    Raises:
        TargetError: the tap started without state though there is a bookmark.
        RetryableError: it started from a state that the lake no longer holds.
    """
    held = read_bookmarks(run.lake, plan)
    if not run.dry_run:
        run.checkpoints = Checkpoints(plan, run.lake, run.run_id, run.sinks)
    is_replaced = all(s.write_mode == "replace" for s in plan.streams)
    if run.start_state is None or (is_replaced and not any(s.resumable for s in plan.streams)):
        return held
    resume = all(s.write_mode in ("upsert", "replace") for s in plan.streams)
    lake_state = bookmarks.merge_states(held, resume_from_oldest=resume)
    if bookmarks.same(lake_state, run.start_state) or (is_replaced and not run.start_state):
        return held
    checkpoints = run.checkpoints or Checkpoints(plan, run.lake, run.run_id, run.sinks)
    with lake_errors("the journal"):
        found = checkpoints.find(held, {} if is_replaced else lake_state, run.start_state)
        if found is not None:
            _adopt(run, plan, checkpoints, found, held)
            return held
    if not run.start_state:
        raise TargetError(
            "the tap starts without state though the lake holds a bookmark of this job, its rows would be loaded "
            "again; run: dativo run --full-refresh, or forget the bookmark with: dativo state reset",
            "refused",
        )
    by = ", ".join(sorted({b.run_id for b in held.values() if b}))
    raise RetryableError(
        f"overtaken by run {by or 'that dropped the table or the checkpoint'}: the tap started from a state that the lake "
        "no longer holds; run again",
        "overtaken",
    )


def _adopt(run: Run, plan: LoadPlan, checkpoints: Checkpoints, found: Found, held: dict[str, Bookmark | None]) -> None:
    from target_iceberg.singer.stream import sink_for

    for stream in plan.streams:
        if stream.stream not in found.streams:
            continue
        known, announced = found.checkpoint.streams[stream.stream], run.announced.get(stream.stream)
        # A SCHEMA that has come already may have given the stream columns that the load plan has not.
        shape = stream if announced is None else announced.plan
        steps = known.steps if known.steps[-1] == shape else (*known.steps, shape)
        stage = require_start(open_stage(run.lake, *steps), held)
        sink = sink_for(run, shape, stage)
        sink.go_on_from(known, *checkpoints.files_of(found.checkpoint, stream.stream))
        run.sinks[stream.stream] = sink
    rows = sum(s.counts.read for s in run.sinks.values())
    event(
        "checkpoint_adopted",
        f"going on from the checkpoint of run {found.checkpoint.holder}: {rows:,} records are staged already",
        records=rows,
        from_run=found.checkpoint.holder,
    )
    run.notices.append(f"went on from the checkpoint of run {found.checkpoint.holder}, which had read {rows:,} records")
    run.ledger.hold(found.state)
    run.commit_id = found.checkpoint.commit_id
    if not run.dry_run:
        checkpoints.adopt(found)


def require_start(stage: Stage, held: dict[str, Bookmark | None]) -> Stage:
    """The stage, if its table still stands where it stood when the run began; streams may be opened much later.

    Raises:
        RetryableError: another run has published meanwhile.
    """
    mark: Any = held.get(stage.plan.stream)
    if stage.start_n != (mark.n if mark else 0):
        by = f"run {stage.start.run_id}" if stage.start else "whoever dropped the table"
        raise RetryableError(
            f"stream {stage.plan.stream}: overtaken by {by} on {address(stage.plan)}; nothing of this stream was "
            "published, run again",
            "overtaken",
        )
    return stage
