"""From stdin to staged files: frame, route by stream, decode and check in two workers, stage in order.

Memory is bounded: chunks of a stream wait until they are worth a worker, all waiting chunks together have a limit, and so
has the number of chunks under way.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from target_iceberg.singer.log import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_iceberg.singer.stream import Evaluated, StreamSink

CHUNK_BYTES = 4 << 20
WAITING_BYTES = 48 << 20
WORKERS = 2
UNDER_WAY = 8
"""Chunks that are decoded or wait for it or for being staged: so many that workers go on while a row group is written."""
PROGRESS_EVERY_S = 0.5


@dataclass
class _Waiting:
    sink: StreamSink
    parts: list[bytes] = field(default_factory=list)
    size: int = 0
    rows: int = 0
    before_state: tuple[int, int] | None = None
    """(parts, rows) that stood before the last STATE."""


class Lanes:
    """Evaluates chunks in workers and hands results to their sinks in the order of the input."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="evaluate")
        self._queue: queue.Queue[tuple[Future[Any] | None, Callable[[Any], None]]] = queue.Queue(UNDER_WAY)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._stage, name="stage", daemon=True)
        self._thread.start()

    def put(self, evaluate: Callable[[], Evaluated], accept: Callable[[Evaluated], None]) -> None:
        """Queue a chunk; waits while too many are under way."""
        self._raise()
        self._queue.put((self._pool.submit(evaluate), accept))

    def then(self, action: Callable[[], None]) -> None:
        """Queue an action that runs after everything before it was accepted, unless something of that failed."""
        self._queue.put((None, lambda _: action() if self._error is None else None))

    def wait(self) -> None:
        """Return when everything queued so far was accepted.

        Raises:
            TargetError: a chunk could not be evaluated or staged.
        """
        done = threading.Event()
        self._queue.put((None, lambda _: done.set()))
        done.wait()
        self._raise()

    def close(self) -> None:
        """Stop the threads; what is queued is dropped."""
        self._error = self._error or RuntimeError("closed")
        stop = threading.Event()
        self._queue.put((None, lambda _: stop.set()))
        stop.wait()
        self._pool.shutdown(cancel_futures=True)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _stage(self) -> None:
        while True:
            future, accept = self._queue.get()
            if future is not None and self._error is not None:
                future.cancel()
                continue
            try:
                accept(None if future is None else future.result())
            except BaseException as e:  # noqa: BLE001  carried to the main thread and raised there
                self._error = e


class Router:
    """Collects records per stream into chunks worth a worker."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._waiting: dict[str, _Waiting] = {}
        self._size = 0

    def add(self, sink: StreamSink, data: bytes, rows: int) -> None:
        """Take whole RECORD lines of a stream."""
        waiting = self._waiting.setdefault(sink.plan.stream, _Waiting(sink))
        waiting.parts.append(data)
        waiting.size += len(data)
        waiting.rows += rows
        self._size += len(data)
        if waiting.size >= CHUNK_BYTES:
            self.flush(sink.plan.stream)
        elif self._size >= WAITING_BYTES:
            self.flush(max(self._waiting, key=lambda s: self._waiting[s].size))

    def mark(self, sink: StreamSink) -> None:
        """A STATE has come: the sink is told when all of its records up to here are accepted.

        Of several STATEs the last counts, so waiting records are not cut into a chunk for each of them.
        """
        waiting = self._waiting.get(sink.plan.stream)
        if waiting is None:
            self._lanes.then(sink.mark_state)
        else:
            waiting.before_state = len(waiting.parts), waiting.rows

    def flush(self, stream: str | None = None) -> None:
        """Send waiting records of one stream or of all to the workers."""
        for name in [stream] if stream is not None else list(self._waiting):
            waiting = self._waiting.pop(name, None)
            if waiting is None:
                continue
            self._size -= waiting.size
            waiting.sink.counts.bytes_in += waiting.size
            parts, rows = waiting.before_state or (0, 0)
            if waiting.before_state is not None:
                self._put(waiting.sink, waiting.parts[:parts], rows)
                self._lanes.then(waiting.sink.mark_state)
            self._put(waiting.sink, waiting.parts[parts:], waiting.rows - rows)

    def _put(self, sink: StreamSink, parts: list[bytes], rows: int) -> None:
        if rows:
            chunk = b"".join(parts)
            self._lanes.put(lambda: sink.evaluate_records(chunk, rows), sink.accept)


class Progress:
    """Tells how far a run is, at most twice a second."""

    def __init__(self, sinks: dict[str, StreamSink]) -> None:
        self._sinks, self._next = sinks, 0.0

    def tick(self, *, last: bool = False) -> None:
        """Report if it is time."""
        now = time.monotonic()
        if now < self._next and not last:
            return
        self._next = now + PROGRESS_EVERY_S
        for name, sink in self._sinks.items():
            event(
                "progress",
                f"{name}: {sink.counts.read} records",
                stream=name,
                records=sink.counts.read,
                rejected=sink.counts.rejected,
                bytes=sink.staged_bytes,
            )
