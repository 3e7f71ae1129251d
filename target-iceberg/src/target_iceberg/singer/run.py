"""One run of the target: what each message does to it.

The lake is opened, and the libraries for it loaded, when the first record comes: most runs of a schedule find nothing new.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from target_iceberg import load_plan
from target_iceberg.run_report import new_run_id
from target_iceberg.singer import messages as m
from target_iceberg.singer.framing import Framer, Line, Span
from target_iceberg.singer.libraries import Libraries
from target_iceberg.singer.pipeline import Lanes, Progress, Router
from target_iceberg.stages import passing
from target_iceberg.table import bookmark as bookmarks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from target_iceberg.load_plan import LoadPlan, StreamPlan
    from target_iceberg.singer.checkpoints import Checkpoints
    from target_iceberg.singer.ledger import Ledger
    from target_iceberg.singer.settings import Settings
    from target_iceberg.singer.stream import Evaluated, StreamSink
    from target_iceberg.table.bookmark import Bookmark
    from target_iceberg.table.stage import Lakehouse

RUN_ID_ENV = "DATIVO_RUN_ID"
DRY_RUN_ENV = "DATIVO_DRY_RUN"


@dataclass
class _Announced:
    """A stream of which only the SCHEMA has come."""

    plan: StreamPlan
    schema: dict[str, Any]
    state_came: bool = False


class Run:
    """State of a run while messages come in."""

    def __init__(self, settings: Settings, plan: LoadPlan | None, ledger: Ledger) -> None:
        self.settings, self.plan, self.ledger = settings, plan, ledger
        self.run_id = os.environ.get(RUN_ID_ENV) or new_run_id()
        self.sinks: dict[str, StreamSink] = {}
        self.start_state: dict[str, Any] | None = None
        self.is_launched = False
        """The tap runs under the launcher, which marks its end."""
        self.ended = False
        self.stopped_early = False
        self.notices: list[str] = []
        self.unplanned: dict[str, int] = {}
        self.line_counts = {"records": 0, "schemas": 0, "states": 0, "batches": 0}
        self.announced: dict[str, _Announced] = {}
        self.rows_since_state = 0
        self.checkpoints: Checkpoints | None = None
        self.commit_id: str | None = None
        """Of a publish that an earlier run had begun and this one completes."""
        self.dry_run = os.environ.get(DRY_RUN_ENV) == "1"
        self.publish_now: Callable[[], None] | None = None
        """Publishes what is complete; set by whoever runs this."""
        self._held: dict[str, Bookmark | None] = {}
        self._known_schemas: dict[str, dict[str, Any]] = {}
        self._published_at = time.monotonic()
        self._checked = False
        self._libraries = Libraries()
        self._schemas: dict[str, bytes] = {}
        self._lake: Lakehouse | None = None
        self._lanes = Lanes()
        self._router = Router(self._lanes)
        self._progress = Progress(self.sinks)

    @property
    def strict(self) -> bool:
        """A violated error rule withholds the run."""
        return (self.plan.rejects.violations if self.plan else self.settings.violations) == "strict"

    @property
    def lake(self) -> Lakehouse:
        """The lake, opened when it is first needed."""
        if self._lake is None:
            self._libraries.wait()
            from target_iceberg.table.lake_catalog import open_catalog
            from target_iceberg.table.stage import Lakehouse

            where = self.plan.catalog if self.plan else self.settings.catalog
            catalog = open_catalog(where)
            assert catalog is not None
            self._lake = Lakehouse(
                catalog, where, self.plan.tenant if self.plan else "-", self.plan.job if self.plan else "-"
            )
        return self._lake

    def read(self, blocks: Iterable[bytes]) -> None:
        """Read messages to the end of the input, or until enough violations are known.

        Raises:
            TargetError: the run cannot go on.
            SingerMessageError: a line is not a Singer message.
        """
        framer = Framer()
        for block in blocks:
            self._take(framer.feed(block))
            self._progress.tick()
            if self.strict and any(s.withheld and s.listing.is_full for s in self.sinks.values()):
                self.stopped_early = True
                self.notices.append("reading stopped early: enough violations are listed")
                break
        else:
            self._take(framer.close())
        self._router.flush()
        self._lanes.wait()
        self._progress.tick(last=True)

    def close(self) -> None:
        """Stop the workers."""
        self._libraries.wait()
        self._lanes.close()

    def _take(self, items: Iterable[Span | Line]) -> None:
        for item in items:
            if isinstance(item, Span):
                self._records(item.stream, bytes(item.data), item.n_rows)
            else:
                self._message(m.parse(item.data, item.number), item.data)

    def _records(self, stream: str, data: bytes, rows: int) -> None:
        self.line_counts["records"] += rows
        self.rows_since_state += rows
        sink = self.sink(stream)
        if sink is not None:
            self._router.add(sink, data, rows)
        else:
            self.unplanned[stream] = self.unplanned.get(stream, 0) + rows

    def sink(self, stream: str) -> StreamSink | None:
        """The sink of a stream, with its table opened; None: the load plan does not know the stream.

        Raises:
            TargetError: the run started from another state than the lake holds, the table may not be loaded, or no SCHEMA
                came.
        """
        if (sink := self.sinks.get(stream)) is not None:
            return sink
        self._libraries.wait()
        if stream in self.announced:
            self._check_start()  # which opens streams of a checkpoint
            if (sink := self.sinks.get(stream)) is not None:
                return sink
        announced = self.announced.pop(stream, None)
        if announced is None:
            if self.plan is None or any(p.stream == stream for p in self.plan.streams):
                from target_iceberg.singer.sdk_errors import no_schema

                raise no_schema(stream, planned=self.plan is not None)
            return None
        from target_iceberg.singer.stream import sink_for
        from target_iceberg.table.stage import open_stage

        stage = open_stage(self.lake, announced.plan)
        if self.plan is not None:
            from target_iceberg.singer.resume import require_start

            require_start(stage, self._held)
        sink = sink_for(self, announced.plan, stage)
        sink.decoder.announce(announced.schema)
        if announced.state_came:
            sink.mark_state()
        if not gc.isenabled():  # the program starts so; what was imported stays and need not be looked at again
            gc.freeze()
            gc.enable()
        self.sinks[stream] = sink
        return sink

    def _message(self, message: m.Message, line: bytes) -> None:
        if isinstance(message, m.Record):
            self._records(message.stream, line if line.endswith(b"\n") else line + b"\n", 1)
        elif isinstance(message, m.State):
            self._state(message.value)
        elif isinstance(message, m.End):
            self.ended = True
        elif isinstance(message, m.Unknown):
            self.notices.append(f"message type {message.type} is unknown and was skipped")
        else:
            take: dict[type, Callable[[Any], None]] = {
                m.Schema: self._schema,
                m.Batch: self._batch,
                m.TapReject: self._tap_reject,
                m.Start: self._start,
                m.ActivateVersion: self._activate_version,
                m.Keys: self._keys,
            }
            take[type(message)](message)

    def _start(self, message: m.Start) -> None:
        self.run_id = message.run
        self.start_state = message.state
        self.is_launched = True
        if self.plan is not None:
            self._expect_rows([p.stream for p in self.plan.streams])

    def _expect_rows(self, streams: Iterable[str]) -> None:
        """Import what rows need, which takes half a second, while the tap looks for the first; not where none may come."""
        if any(not self.start_of(s).get("bookmark") for s in streams):
            self._libraries.load()

    def _check_start(self) -> None:
        """The tap must have started from what the lake holds; looked at once, before the first table is opened."""
        if self.plan is None or self._checked:
            return
        self._checked = True
        from target_iceberg.singer.resume import begin

        self._held = begin(self, self.plan)
        for name, sink in self.sinks.items():  # those of a checkpoint
            if (announced := self.announced.pop(name, None)) is not None:
                sink.decoder.announce(announced.schema)

    def open_streams_with_news(self) -> None:
        """Open the streams without records that all the same have something to publish.

        Raises:
            TargetError: as `sink`.
        """
        self._libraries.wait()
        if self._may_have_checkpoint():
            self._check_start()
        for stream, announced in list(self.announced.items()):
            if announced.plan.write_mode == "replace" or not bookmarks.same(
                self._part(self.ledger.latest, stream), self.start_of(stream)
            ):
                self.sink(stream)

    def _may_have_checkpoint(self) -> bool:
        """Whether a state may have come from a checkpoint that no record has asked for yet: the lake has to say."""
        from target_iceberg import glance

        if self.plan is None or self._checked or not self.start_state:
            return False
        return not glance.holds_state(self.plan, self.start_state)

    def start_of(self, stream: str) -> dict[str, Any]:
        """What of the state at the start belongs to a stream."""
        return self._part(self.start_state, stream)

    def _part(self, state: Any, stream: str) -> dict[str, Any]:
        if self.plan is None or not isinstance(state, dict):
            return bookmarks.split_state(self.start_state or {}, stream)
        return bookmarks.split_state(state, stream)

    def _state(self, value: Any) -> None:
        self.line_counts["states"] += 1
        self.ledger.hold(value)
        self.rows_since_state = 0
        for announced in self.announced.values():
            announced.state_came = True
        for sink in self.sinks.values():
            if sink.plan.write_mode == "append":
                self._router.mark(sink)
        if self._publish_is_due(value):
            self._publish()
        elif self.checkpoints is not None and self.sinks and self.checkpoints.is_due():
            self._router.flush()
            checkpoints = self.checkpoints
            self._lanes.then(lambda: checkpoints.write(value))

    def _publish_is_due(self, state: Any) -> bool:
        every_s = self.plan.publish_every_s if self.plan else self.settings.publish_every_s
        if not (every_s and self.sinks and self.publish_now) or time.monotonic() - self._published_at < every_s:
            return False
        if any(sink.plan.write_mode == "replace" for sink in self.sinks.values()):
            return False
        # A tap that is killed in the middle of such a bookmark sends its rows again; appended ones would be there twice.
        appending = [name for name, sink in self.sinks.items() if sink.plan.write_mode == "append"]
        return not any(bookmarks.in_progress(self._part(state, name)) for name in appending)

    def _publish(self) -> None:
        """Publish what stands before the STATE that has just come, and go on with new files."""
        assert self.publish_now
        self._router.flush()
        self._lanes.wait()
        self.publish_now()
        self._published_at = time.monotonic()

    def next_round(self, held: dict[str, Bookmark]) -> None:
        """All is published: the streams that go on are opened anew with their next record.

        Args:
            held: the bookmarks that were published.
        """
        for name, sink in self.sinks.items():
            self.announced[name] = _Announced(sink.plan, self._known_schemas.get(name, {}))
        self.sinks.clear()
        self._held |= held
        self.start_state, self.commit_id = self.ledger.latest, None

    def _schema(self, message: m.Schema) -> None:
        self.line_counts["schemas"] += 1
        raw = msgspec.json.encode([message.schema, message.key_properties], order="deterministic")
        if self._schemas.get(message.stream) == raw:
            return
        self._schemas[message.stream] = raw
        plan = self._stream_plan(message)
        if plan is None:
            return
        self._known_schemas[message.stream] = message.schema
        passing("schema")
        sink = self.sinks.get(message.stream)
        if sink is None:
            self.announced[message.stream] = _Announced(plan, message.schema)
            self._expect_rows([message.stream])
            return
        if sink.plan != plan:
            from target_iceberg.table.stage import open_stage

            self._router.flush(message.stream)
            self._lanes.wait()
            sink.adopt(plan, open_stage(self.lake, *sink.stage.steps, plan))
        sink.decoder.announce(message.schema)

    def _stream_plan(self, message: m.Schema) -> StreamPlan | None:
        from target_iceberg.singer.unplanned import plan_without_contract, with_announced_fields

        if self.plan is None:
            return plan_without_contract(
                message.stream, message.schema, tuple(message.key_properties or ()), self.settings
            )
        for plan in self.plan.streams:
            if plan.stream == message.stream:
                return with_announced_fields(load_plan.with_deleted_at(plan, message.schema), message.schema)
        self.notices.append(f"stream {message.stream} is not in the load plan: its records are dropped")
        return None

    def _batch(self, message: m.Batch) -> None:
        self.line_counts["batches"] += 1
        sink = self.sink(message.stream)  # which waits for the libraries that the next lines import
        from singer_arrow import remove
        from target_iceberg.singer import batches

        batches.require_known_encoding(message)
        self._router.flush(message.stream)
        for uri in message.manifest:
            if sink is not None and batches.is_lines(message.encoding):
                for data, rows in batches.batch_lines(message, uri):
                    self._batch_rows(rows, lambda s=sink, d=data, n=rows: s.evaluate_records(d, n), sink)  # type: ignore[misc]
            elif sink is not None:
                for table in batches.batch_tables(message, uri):
                    self._batch_rows(table.num_rows, lambda s=sink, t=table: s.evaluate_table(t), sink)  # type: ignore[misc]
            if batches.is_ours(message.encoding):
                self._lanes.then(lambda uri=uri: remove(uri))  # type: ignore[misc]

    def _batch_rows(self, rows: int, evaluate: Callable[[], Evaluated], sink: StreamSink) -> None:
        self.line_counts["records"] += rows
        self.rows_since_state += rows
        self._lanes.put(evaluate, sink.accept)

    def _activate_version(self, message: m.ActivateVersion) -> None:
        if message.stream not in self._schemas:
            # Which table it is about is not known yet; without it earlier rows stay, and none are lost.
            self.notices.append(f"stream {message.stream}: ACTIVATE_VERSION came before the SCHEMA and was skipped")
            return
        sink = self.sink(message.stream)
        if sink is None:
            return
        if not any(c.name == load_plan.TABLE_VERSION for c in sink.plan.columns):
            self.notices.append(
                f"stream {message.stream}: rows of earlier versions stay, because the table has no column "
                f"{load_plan.TABLE_VERSION}; add_record_metadata adds it"
            )
            return
        self._router.flush(message.stream)
        self._lanes.then(lambda: sink.activate(message.version))

    def _keys(self, message: m.Keys) -> None:
        from target_iceberg.singer.vanished import take_keys

        sink = self.sink(message.stream)
        if sink is not None:
            self._router.flush(message.stream)
            self._lanes.then(lambda: take_keys(self, sink, message))

    def _tap_reject(self, message: m.TapReject) -> None:
        sink = self.sink(message.stream)
        if sink is None:
            return
        self._router.flush(message.stream)
        self._lanes.put(lambda: sink.evaluate_reject(message), sink.accept)
