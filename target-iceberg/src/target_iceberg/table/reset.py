"""Forgetting where a stream stands, as a commit like every other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError

from target_iceberg.errors import RetryableError
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.content import content_of
from target_iceberg.table.publisher import Backoff
from target_iceberg.table.snapshot import RowDelta
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.stage import Lakehouse


def reset_bookmark(lake: Lakehouse, plan: StreamPlan, commit_id: str, run_id: str) -> Bookmark | None:
    """Forget where a stream stands; the change carries an empty snapshot like every other. None: there was nothing.

    Raises:
        RetryableError: other writers kept committing.
    """
    backoff = Backoff()
    while True:
        table = lake.load(plan)
        if table is None or (now := lake.bookmark(table.metadata, plan.stream)) is None:
            return None
        try:
            with table.transaction() as transaction:
                summary = {"dativo.run-id": run_id, "dativo.reset": plan.stream, **content_of(table)}
                delta = RowDelta(transaction, table.io, replace_all=False, overwrite=False, snapshot_properties=summary)
                after = msgspec.structs.replace(
                    now,
                    n=now.n + 1,
                    commit_id=commit_id,
                    run_id=run_id,
                    state=None,
                    snapshot_id=delta.snapshot_id,
                    sequence_number=delta.sequence_number,
                )
                text = bookmarks.encode(after)
                summary[bookmarks.SUMMARY_PREFIX + f"{lake.tenant}.{lake.job}.{plan.stream}"] = text
                transaction.set_properties({bookmarks.property_name(lake.tenant, lake.job, plan.stream): text})
                delta.commit()
        except (CommitFailedException, NoSuchTableError) as e:
            if not backoff.wait():
                raise RetryableError(
                    f"{address(plan)}: other writers kept committing ({e}); run again", "conflict"
                ) from e
        else:
            return after
