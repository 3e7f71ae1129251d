"""The report of one stream, as its sink has counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_iceberg.run_report import RuleCount, StreamReport
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    from target_iceberg.singer.stream import StreamSink
    from target_iceberg.table.bookmark import Bookmark


def own_bookmark(mark: Bookmark | None) -> Any:
    """The stream's own part of a bookmark's state."""
    return mark.state.get("bookmark") if mark is not None and mark.state else None


def rule_counts(sink: StreamSink) -> list[RuleCount]:
    """The rules that were broken, those of severity error first, the most often broken first."""
    c, rules = sink.counts, []
    for severity, counter in (("error", c.by_rule), ("warning", c.warnings)):
        for name, records in counter.most_common():
            column, kind = c.rules.get(name, (None, "rule"))
            example = c.examples.get(name)
            rules.append(
                RuleCount(
                    rule=name,
                    column=column,
                    kind=kind,
                    severity=severity,
                    records=records,
                    example=example.message if example else None,
                )
            )
    return rules


def stream_report(sink: StreamSink) -> StreamReport:
    """What a stream brought; nothing is published yet."""
    c, start = sink.counts, sink.stage.start
    dropped = [
        f"field {name} is not in the contract: dropped from {n} records" for name, n in c.fields_dropped.most_common()
    ]
    return StreamReport(
        stream=sink.plan.stream,
        table=address(sink.plan),
        write_mode=sink.plan.write_mode,
        read=c.read,
        rejected=c.rejected,
        bookmark_before=own_bookmark(start),
        bookmark_n=start.n if start else None,
        bookmark_after=own_bookmark(start),
        schema_changes=sink.stage.changes,
        rules=rule_counts(sink),
        notices=[*sink.notices, *dropped],
    )
