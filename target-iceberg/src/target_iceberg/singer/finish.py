"""The end of a run: audits, the decision to publish or to withhold, the publish itself, and the report."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pyarrow as pa

from target_iceberg.errors import PartialPublishError, TargetError
from target_iceberg.load_plan import TableRuleKind
from target_iceberg.records.rejects import rejects_table
from target_iceberg.records.repeats import unique_rules
from target_iceberg.run_report import Outcome, StreamReport, new_run_id
from target_iceberg.singer.log import event
from target_iceberg.singer.repeated import reject_repeated
from target_iceberg.singer.stream_report import own_bookmark, rule_counts, stream_report
from target_iceberg.singer.unwanted import rows_of, unwanted_rows
from target_iceberg.stages import passing
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table.lake_catalog import lake_errors
from target_iceberg.table.positions import Positions
from target_iceberg.table.publisher import StreamPublish, publish_table
from target_iceberg.table.rejects_table import COLUMNS, SUFFIX, publish_rejects
from target_iceberg.table.stage import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from target_iceberg.run_report import RunReport
    from target_iceberg.singer.run import Run
    from target_iceberg.singer.stream import StreamSink
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.publisher import Published
    from target_iceberg.table.stage import Lakehouse
    from target_iceberg.table.writer import StagedFile


TABLE_RULES = frozenset(get_args(TableRuleKind))


class Finish:
    """Brings a run to its end."""

    def __init__(self, run: Run, report: RunReport, *, dry_run: bool) -> None:
        self._run, self._report, self._dry_run = run, report, dry_run
        self.reports = {name: stream_report(sink) for name, sink in run.sinks.items()}
        """What each stream brought; counts are complete when `conclude` has returned or `settle` was called."""
        self.bookmarks: dict[str, Bookmark] = {}
        """Bookmarks that were published."""
        self._commit_id = run.commit_id or new_run_id()
        self.outcome: Outcome | None = None
        """Set when everything that was to be published is."""
        self._published_tables = 0
        self._published_streams: set[str] = set()

    def conclude(self) -> Outcome:
        """Publish what may be published.

        Raises:
            TargetError: nothing (more) could be published.
        """
        run = self._run
        staged = {name: sink.finish() for name, sink in run.sinks.items()}
        publishes = {name: self._prepare(sink, staged[name]) for name, sink in run.sinks.items()}
        verdict = self._verdict()
        passing("audited")
        for name, sink in run.sinks.items():
            self._count(sink, publishes[name], withheld=verdict is not None)
        if verdict is not None:
            if not self._dry_run:
                self._publish_all({})
            raise TargetError(verdict, "violations")
        if self._dry_run:
            return "dry_run"
        wanted = {name: p for name, p in publishes.items() if p is not None and self._has_news(p)}
        self._require_schemas()
        self._report.commit_id = self._commit_id
        if run.checkpoints is not None:
            run.checkpoints.before_publish(run.ledger.latest, self._commit_id, state_is_last=not run.rows_since_state)
        self._publish_all(wanted)
        for sink in run.sinks.values():
            sink.clean_up()
        rejected = any(s.counts.rejected for s in run.sinks.values())
        self.outcome = "partial" if rejected else "published" if wanted else "unchanged"
        return self.outcome

    @property
    def has_published(self) -> bool:
        """At least one table is published."""
        return bool(self._published_streams)

    def abandon(self) -> None:
        """Count everything as withheld: the run has ended before anything could be judged."""
        for sink in self._run.sinks.values():
            self._count(sink, None, withheld=True)

    def settle(self) -> None:
        """Count rows of streams that were not published as withheld, when a run ends early."""
        for report in self.reports.values():
            if report.stream not in self._published_streams and not self._dry_run:
                report.withheld += report.published + report.superseded + report.deleted
                report.published = report.superseded = report.deleted = 0

    def discard(self) -> None:
        """Delete staged files of a run that has not attempted a commit."""
        if not self._published_tables:
            for sink in self._run.sinks.values():
                sink.discard()

    # -- what would be published ------------------------------------------------------------------------------------------

    def _prepare(self, sink: StreamSink, files: list[StagedFile]) -> StreamPublish | None:
        plan = sink.plan
        if plan.write_mode == "replace" and not files and not plan.allow_empty:
            if not sink.withheld:  # in which case the verdict says what becomes of them
                why = "all rows were rejected" if sink.counts.rejected else "no rows came"
                self.reports[plan.stream].notices.append(
                    f"{why}: the table keeps its rows (set target.allow_empty to empty it)"
                )
            return None
        tombstones = sink.tombstones()
        unwanted, report = unwanted_rows(sink, files, tombstones), self.reports[plan.stream]
        report.superseded, report.deleted, report.withheld = unwanted.superseded, unwanted.deleted, unwanted.withheld
        if unwanted.withheld:
            report.notices.append(
                f"{unwanted.withheld} rows after the tap's last STATE are held back; the next run reads them again"
            )
        if reject_repeated(sink, files, unwanted.positions):
            report.rejected, report.rules = sink.counts.rejected, rule_counts(sink)
        if plan.sort_by and files:
            files, unwanted.positions = sink.sort(files, unwanted.positions), Positions()
        state = self._state_of(plan.stream)
        return StreamPublish(
            sink.stage,
            files,
            state,
            self._files_read_again(sink, state),
            unwanted.positions,
            _receipt(sink, report, state),
            tombstones,
            sink.activated,
        )

    def _state_of(self, stream: str) -> Any:
        latest = self._run.ledger.latest
        return None if not isinstance(latest, dict) or self._run.plan is None else bookmarks.split_state(latest, stream)

    def _files_read_again(self, sink: StreamSink, state: Any) -> set[str]:
        """Files that the table may hold rows of, and that this run has read."""
        if not sink.plan.replace_files or sink.plan.write_mode == "replace":
            return set()
        start = sink.stage.start.state if sink.stage.start else None
        before = ((start or {}).get("bookmark") or {}).get("files") or {}
        after = ((state or {}).get("bookmark") or {}).get("files") or {}
        changed = {f for f, entry in after.items() if _content(entry) != _content(before.get(f))}
        seen = changed | sink.source_files
        # Without a bookmark (first run, or after a reset) the table may hold rows of any of them.
        return seen if start is None else seen & set(before)

    def _has_news(self, publish: StreamPublish) -> bool:
        start = publish.stage.start
        moved = publish.state is not None and not bookmarks.same(publish.state, start.state if start else None)
        brought = publish.files or publish.tombstones or publish.activated is not None
        return bool(brought) or moved or publish.plan.write_mode == "replace"

    # -- may it be published ----------------------------------------------------------------------------------------------

    def _verdict(self) -> str | None:
        """Why the run is withheld, or None."""
        reasons = []
        for name, sink in self._run.sinks.items():
            reasons += self._audit(sink)
            if sink.withheld:
                mode = "violations" if self._run.plan is None else "schema_validation_mode"
                reasons.append(
                    f"stream {name}: {sink.counts.rejected} of {sink.counts.read} records broke the contract "
                    f"({mode}: strict): {_broken_rules(sink)}"
                )
            elif reason := self._flood(sink):
                reasons.append(reason)
        return None if not reasons else "no data was published: " + "; ".join(reasons)

    def _flood(self, sink: StreamSink) -> str | None:
        limits, c = (self._run.plan.rejects if self._run.plan else None), sink.counts
        if limits is None or not c.rejected:
            return None
        share = 100 * c.rejected / c.read
        if limits.max_rejected_rows is not None and c.rejected > limits.max_rejected_rows:
            return f"stream {sink.plan.stream}: {c.rejected} rejected records, more than max_rejected ({limits.max_rejected_rows})"
        if limits.max_rejected_percent is not None and share > limits.max_rejected_percent:
            return f"stream {sink.plan.stream}: {share:.2f} % of the records rejected, more than max_rejected ({limits.max_rejected_percent} %)"
        return None

    def _audit(self, sink: StreamSink) -> list[str]:
        """Judge what is staged by the rules about whole tables; returns why the run must be withheld."""
        plan = sink.plan
        if plan.key and plan.write_mode != "append":
            # Of two rows of a key the last one wins, so a rule that the key is unique holds by itself.
            rules = tuple(r for r in plan.rules if r.kind != "unique" or set(r.columns) != set(plan.key))
            plan = msgspec.structs.replace(plan, rules=rules)
        judged = {r.name for r in unique_rules(plan)}
        plan = msgspec.structs.replace(plan, rules=tuple(r for r in plan.rules if r.name not in judged))
        if not any(r.kind in TABLE_RULES for r in plan.rules):
            return []
        from target_iceberg.records.audit import audit  # loads DuckDB

        with lake_errors(address(plan)):
            found = audit(plan, rows_of(sink, sink.finish()), unique_key=False)
        self.reports[plan.stream].rules += found
        return [f"stream {plan.stream}: {f.example or f.rule}" for f in found if f.severity == "error"]

    def _require_schemas(self) -> None:
        plan = self._run.plan
        missing = (
            [s.stream for s in plan.streams if s.write_mode == "replace" and s.stream not in self._run.sinks]
            if plan
            else []
        )
        if missing:
            raise TargetError(
                f"no SCHEMA came for {', '.join(missing)}: a replace without it would keep old rows unnoticed; check the tap's "
                "selection",
                "refused",
            )

    # -- publishing -------------------------------------------------------------------------------------------------------

    def _publish_rejects(self, lake: Lakehouse) -> None:
        for sink in self._run.sinks.values():
            n = sink.stage.start_n + 1
            when = dt.datetime.now(tz=dt.timezone.utc)
            listed = rejects_table(sink.rejects, run_id=self._run.run_id, plan=sink.plan, rejected_at=when, n=n)
            table = _as_columns(listed, self._run)
            if (
                publish_rejects(lake, sink.plan, table, sink.stage.start_n, self._commit_id, self._run.run_id)
                and sink.rejects
            ):
                self._report.rejects_tables.append(address(sink.plan) + SUFFIX)

    def _publish_all(self, publishes: dict[str, StreamPublish]) -> None:
        """Rejects and tables: one after the other, or, where the catalog has branches, as one visible step."""
        lake = self._run.lake
        if lake.settings.kind != "nessie":
            self._publish_rejects(lake)
            passing("rejects_published")
            for group, done in self._publish(lake, publishes):
                self._note(group, done)
            return
        if not publishes and not any(sink.rejects for sink in self._run.sinks.values()):
            return
        from target_iceberg.table.one_step import publish_in_one_step

        def commit(on_branch: Lakehouse) -> list[tuple[list[StreamPublish], Published]]:
            self._published_tables, self._report.rejects_tables = 0, []
            self._publish_rejects(on_branch)
            passing("rejects_published")
            return list(self._publish(on_branch, publishes))

        namespace = next(iter(self._run.sinks.values())).plan.namespace
        with lake_errors(f"branch {lake.settings.branch}"):
            loaded = {(*p.plan.namespace, p.plan.table): p.stage.loaded for p in publishes.values() if p.stage.loaded}
            published, merged = publish_in_one_step(lake, namespace, self._run.run_id, self._message(), loaded, commit)
        event("merged", f"branch {lake.settings.branch} is at {merged}", branch=lake.settings.branch, hash=merged)
        for group, done in published:
            self._note(group, done)

    def _message(self) -> str:
        """Of the one commit that is seen."""
        run, rows = self._run, sum(r.published for r in self.reports.values())
        job = f"{run.plan.tenant}/{run.plan.job}" if run.plan else "target-iceberg"
        return f"{job}: {rows} rows, run {run.run_id}"

    def _publish(
        self, lake: Lakehouse, publishes: dict[str, StreamPublish]
    ) -> Iterator[tuple[list[StreamPublish], Published]]:
        by_table: dict[str, list[StreamPublish]] = defaultdict(list)
        for p in publishes.values():
            by_table[address(p.plan)].append(p)
        for where, group in by_table.items():
            try:
                with lake_errors(where):
                    self._published_tables += 1  # from here on staged files may be referred to
                    done = publish_table(lake, group, self._commit_id, self._run.run_id)
            except TargetError as e:
                if self._published_tables == 1 or lake.settings.kind == "nessie":
                    raise
                done_tables = (
                    f"published only {self._published_tables - 1} of {len(by_table)} tables, run again to complete: {e}"
                )
                raise PartialPublishError(done_tables, e.failure_class) from e
            yield group, done

    def _note(self, group: list[StreamPublish], done: Published) -> None:
        for p in group:
            report, mark = self.reports[p.plan.stream], done.bookmarks[p.plan.stream]
            self.bookmarks[p.plan.stream] = mark
            self._published_streams.add(p.plan.stream)
            report.snapshot_id, report.bookmark_n, report.bookmark_after = done.snapshot_id, mark.n, own_bookmark(mark)
            report.rows_replaced = done.rows_replaced
            event(
                "published",
                f"{report.table}: {report.published} rows published",
                stream=p.plan.stream,
                table=report.table,
                rows=report.published,
                snapshot_id=done.snapshot_id,
                rows_replaced=done.rows_replaced,
            )

    def _count(self, sink: StreamSink, publish: StreamPublish | None, *, withheld: bool) -> None:
        r = self.reports[sink.plan.stream]
        if withheld:
            r.superseded, r.deleted, r.withheld = 0, 0, sink.counts.good
        r.published = 0 if withheld else sink.counts.good - r.superseded - r.deleted - r.withheld
        if publish is None and not withheld:
            r.superseded, r.deleted, r.withheld, r.published = 0, 0, sink.counts.good, 0
        r.files_written = 0 if publish is None else len(publish.files)
        r.bytes_written = 0 if publish is None else sum(f.data_file.file_size_in_bytes for f in publish.files)
        if r.read != r.published + r.rejected + r.superseded + r.deleted + r.withheld:
            raise TargetError(
                f"stream {r.stream}: counts do not add up (read {r.read}, published {r.published}, rejected {r.rejected}, "
                f"superseded {r.superseded}, deleted {r.deleted}, withheld {r.withheld}); nothing was published",
                "internal",
            )


def _content(entry: Any) -> Any:
    """A file's entry in a bookmark without what may change though its content has not."""
    return {k: v for k, v in entry.items() if k not in ("missing", "modified")} if isinstance(entry, dict) else entry


def _broken_rules(sink: StreamSink) -> str:
    """The rules that were broken most often and what they say."""
    worst = sink.counts.by_rule.most_common(3)
    said = [
        f"{rule} {n} times ({sink.counts.examples[rule].message})" for rule, n in worst if rule in sink.counts.examples
    ]
    more = len(sink.counts.by_rule) - len(said)
    return ", ".join(said) + (f", and {more} more" if more else "")


_MAX_BOOKMARK_CHARACTERS = 4_000


def _receipt(sink: StreamSink, report: StreamReport, state: Any) -> dict[str, str]:
    """What a snapshot tells of one stream."""
    prefix, c, contract = f"dativo.stream.{sink.plan.stream}.", sink.counts, sink.plan.contract
    before = sink.stage.start.state if sink.stage.start else None
    published = c.good - report.superseded - report.deleted - report.withheld
    receipt = {
        "read": str(c.read),
        "published": str(published),
        "rejected": str(c.rejected),
        "superseded": str(report.superseded),
        "deleted": str(report.deleted),
        "withheld": str(report.withheld),
        "write-mode": sink.plan.write_mode,
        "bookmark-before": _short((before or {}).get("bookmark")),
        "bookmark-after": _short(((state if state is not None else before) or {}).get("bookmark")),
    }
    if contract is not None:
        receipt |= {"contract": f"{contract.name}@{contract.version}", "contract-digest": contract.digest}
    return {prefix + name: text for name, text in receipt.items()}


def _short(bookmark: Any) -> str:
    """JSON of a bookmark; the digest of a long one, which stands whole in the table's property."""
    text = msgspec.json.encode(bookmark, order="deterministic")
    return text.decode() if len(text) <= _MAX_BOOKMARK_CHARACTERS else f"sha256:{hashlib.sha256(text).hexdigest()}"


def _as_columns(table: pa.Table, run: Run) -> pa.Table:
    """Rejects with tenant and job, in the columns of the rejects table."""
    n = table.num_rows
    tenant, job = run.lake.tenant, run.lake.job
    nothing = pa.nulls(n, pa.string())
    ids = [f"{run_id}.{stream}.{number}.{i}" for i, (run_id, stream, number) in enumerate(_identities(table))]
    more = {
        "tenant": pa.array([tenant] * n, pa.string()),
        "job": pa.array([job] * n, pa.string()),
        "reject_id": pa.array(ids, pa.string()),
        "status": nothing,
        "settled_by": nothing,
    }
    for name, column in more.items():
        table = table.append_column(name, column)
    return table.select([c.name for c in COLUMNS])


def _identities(table: pa.Table) -> zip[tuple[str, str, int]]:
    return zip(*(table[name].to_pylist() for name in ("run_id", "stream", "n")), strict=True)
