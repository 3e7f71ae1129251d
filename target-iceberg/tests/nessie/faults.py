"""Faults between a run and its servers: each is put in while a run publishes, with what has to come of it.

`make faults` prints the table of what was observed; tests/nessie/test_fault_table.py judges it.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from faulty import Faulty
from pyiceberg.types import StringType

from target_iceberg import lake
from target_iceberg.load_plan import Column

if TYPE_CHECKING:
    from collections.abc import Callable

Ending = Literal["recovers", "withheld, retry", "withheld, mend", "overtaken"]
"""What a run has to do: publish all the same; or publish nothing and say that a retry helps, or what to mend, or who was faster."""
PATIENCE = {"DATIVO_PUBLISH_DEADLINE_S": "20", "DATIVO_REQUEST_TIMEOUT_S": "4", "DATIVO_STORE_TIMEOUT_S": "3"}
ENDS_WITHIN_S = 150
MERGE, COMMIT, READ = r"^POST \S*/history/merge", r"^POST \S*/tables/", r"^GET "
PUT, PART = r"^PUT ", r"^(?:PUT|POST) \S*[?&]uploadId="


def order(i: int, **more: Any) -> dict[str, Any]:
    return {"id": i, "status": "new", "amount": "1.50", **more}


@dataclass
class Trial:
    """A job with two tables that has published once; `bring` lets it publish again while something goes wrong."""

    job: Any
    toxiproxy: Any
    own_stack: Any
    directory: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(PATIENCE))
    note: str | None = None
    mend: Callable[[], object] | None = None
    """What somebody has to do before the next run."""
    closing: list[Callable[[], None]] = field(default_factory=list)
    took_s: float = 0.0
    runs: list[str] = field(default_factory=list)

    def plan(self) -> Any:
        columns = (*self.job.stream("orders").columns, Column(name="note", type="string"))
        orders = self.job.stream("orders", write_mode="append", key=(), columns=columns)
        return self.job.plan(orders, self.job.stream("returns"))

    def prepare(self) -> None:
        done = self.job.run(self.plan(), {"orders": [order(1)], "returns": [order(1)]}, 1)
        assert done.code == 0, done.err
        self.state = lake.preflight(self.plan()).state

    def bring(
        self, *, held_at: str | None = None, action: Callable[[], object] | None = None, state: Any = None
    ) -> Any:
        """Start the second run; hold it at a stage, act, and let it go on. Returns what it left."""
        environment = dict(self.environment)
        signals = self.directory / f"signals-{len(self.runs)}"
        signals.mkdir()
        self.runs.append("")
        if held_at:
            environment["DATIVO_TEST_HOLD_AT"] = f"{held_at}:{signals}"
        rows = {"orders": [order(2, note=self.note)], "returns": [order(2)]}
        if self.note is not None:
            rows["orders"] = [order(n, note=self.note[n : n + 4_000]) for n in range(2, 5_002)]
        began = time.monotonic()
        process = self.job.start(self.plan(), rows, 2, start=self.state if state is None else state, **environment)
        if held_at:
            while not (signals / "reached").exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            if action is not None:
                action()
            (signals / "go").touch()
        done = self.job.finish(process)
        self.took_s = time.monotonic() - began
        return done

    def nessie_through(self, proxy: Any) -> Any:
        self.job.properties["uri"] = proxy.address
        return proxy

    def store_through(self, proxy: Any) -> Any:
        self.job.properties["s3.endpoint"] = proxy.address
        return proxy

    def before_nessie(self) -> Any:
        """Toxiproxy before Nessie."""
        return self.nessie_through(self.toxiproxy.before(self.job.servers.nessie))

    def before_store(self) -> Any:
        """Toxiproxy before the object store."""
        return self.store_through(self.toxiproxy.before(self.job.servers.s3))

    def http_before_nessie(self) -> Faulty:
        made = Faulty(self.job.servers.nessie)
        self.closing.append(made.close)
        return self.nessie_through(made)  # type: ignore[no-any-return]

    def http_before_store(self) -> Faulty:
        made = Faulty(self.job.servers.s3)
        self.closing.append(made.close)
        return self.store_through(made)  # type: ignore[no-any-return]

    def direct(self) -> None:
        """The way to the servers is free again."""
        self.job.properties |= {"uri": f"{self.job.servers.nessie}/api/v1", "s3.endpoint": self.job.servers.s3}


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    where: str
    title: str
    ending: Ending
    act: Callable[[Trial], Any]
    """Puts the fault in and brings the second run; returns what it left."""


FAULTS: dict[str, Fault] = {}


def fault(where: str, title: str, ending: Ending) -> Callable[[Callable[[Trial], Any]], Callable[[Trial], Any]]:
    def register(act: Callable[[Trial], Any]) -> Callable[[Trial], Any]:
        FAULTS[act.__name__] = Fault(where, title, ending, act)
        return act

    return register


# -- the way to the catalog -----------------------------------------------------------------------------------------------------


@fault("Nessie", "300 ms more for every answer", "recovers")
def slow_catalog(t: Trial) -> Any:
    t.before_nessie().toxic("latency", latency=150, jitter=30)
    return t.bring()


@fault("Nessie", "a line of 20 KB/s", "recovers")
def thin_line_to_the_catalog(t: Trial) -> Any:
    t.before_nessie().toxic("bandwidth", rate=20)
    return t.bring()


@fault("Nessie", "connections reset for 2 s while the run publishes", "recovers")
def catalog_connections_reset(t: Trial) -> Any:
    proxy = t.before_nessie()
    return t.bring(held_at="audited", action=lambda: _for_a_while(proxy, 2, "reset_peer", timeout=0))


@fault("Nessie", "half open: nothing passes for 6 s, longer than a request may take", "recovers")
def catalog_half_open(t: Trial) -> Any:
    proxy = t.before_nessie()
    return t.bring(held_at="audited", action=lambda: _for_a_while(proxy, 6, "timeout", timeout=0))


@fault("Nessie", "half open for good", "withheld, retry")
def catalog_half_open_for_good(t: Trial) -> Any:
    proxy = t.before_nessie()
    return t.bring(held_at="audited", action=lambda: proxy.toxic("timeout", timeout=0))


@fault("Nessie", "refuses connections from the publish on", "withheld, retry")
def catalog_away(t: Trial) -> Any:
    proxy = t.before_nessie()
    return t.bring(held_at="audited", action=lambda: proxy.connect(False))


@fault("Nessie", "no valid token", "withheld, mend")
def catalog_refuses(t: Trial) -> Any:
    return _http(t.http_before_nessie(), t, r"^(GET|POST) ", 401, 10_000, free=False)


# -- servers killed -------------------------------------------------------------------------------------------------------------


@fault("Nessie", "killed before the merge, back from its store after it", "recovers")
def catalog_killed_before_the_merge(t: Trial) -> Any:
    return _restarted(t, "nessie", "before_merge")


@fault("Nessie", "killed before a table's commit, back from its store after it", "recovers")
def catalog_killed_before_a_commit(t: Trial) -> Any:
    return _restarted(t, "nessie", "before_commit")


@fault("object store", "killed before a table's commit, back after it", "recovers")
def store_killed_before_a_commit(t: Trial) -> Any:
    return _restarted(t, "s3proxy", "before_commit")


# -- the way to the store -------------------------------------------------------------------------------------------------------


@fault("object store", "300 ms more for every answer", "recovers")
def slow_store(t: Trial) -> Any:
    t.before_store().toxic("latency", latency=150, jitter=30)
    return t.bring()


@fault("object store", "a line of 2 MB/s for 10 MB", "recovers")
def thin_line_to_the_store(t: Trial) -> Any:
    t.note = _noise()
    t.before_store().toxic("bandwidth", rate=2_000)
    return t.bring()


@fault("object store", "connections reset for 2 s while files are written", "recovers")
def store_connections_reset(t: Trial) -> Any:
    proxy = t.before_store()
    return t.bring(held_at="end", action=lambda: _for_a_while(proxy, 2, "reset_peer", timeout=0))


@fault("object store", "half open: nothing passes for 5 s", "recovers")
def store_half_open(t: Trial) -> Any:
    proxy = t.before_store()
    return t.bring(held_at="end", action=lambda: _for_a_while(proxy, 5, "timeout", timeout=0))


@fault("object store", "refuses connections from the publish on", "withheld, retry")
def store_away(t: Trial) -> Any:
    proxy = t.before_store()
    return t.bring(held_at="end", action=lambda: proxy.connect(False))


@fault("object store", "a multipart upload dies on the way, twice", "recovers")
def multipart_dies(t: Trial) -> Any:
    t.note = _noise()
    return _http(t.http_before_store(), t, PART, "lose_request", 2)


@fault("object store", "a secret that is wrong", "withheld, mend")
def wrong_secret(t: Trial) -> Any:
    t.job.properties["s3.secret-access-key"] = "wrong"
    done = t.bring()
    t.job.properties["s3.secret-access-key"] = t.job.servers.secret_key
    return done


@fault("object store", "the bucket is missing", "withheld, mend")
def bucket_missing(t: Trial) -> Any:
    return _http(t.http_before_store(), t, r"^(PUT|POST) ", "no_bucket", 10_000, free=False)


@fault("the clock", "ten minutes fast", "recovers")
def clock_fast(t: Trial) -> Any:
    return _skewed(t, 600)


@fault("the clock", "ten minutes slow", "recovers")
def clock_slow(t: Trial) -> Any:
    return _skewed(t, -600)


# -- others who write -----------------------------------------------------------------------------------------------------------


@fault("others", "the branch is deleted meanwhile", "overtaken")
def branch_deleted(t: Trial) -> Any:
    catalog = t.job.catalog()
    return t.bring(held_at="audited", action=lambda: catalog.delete_branch(catalog.reference(t.job.branch)))


@fault("others", "a table is dropped meanwhile", "overtaken")
def table_dropped(t: Trial) -> Any:
    return t.bring(held_at="audited", action=lambda: t.job.catalog().drop_table((t.job.namespace, "orders")))


@fault("others", "a table gets a column meanwhile that the contract does not have (strict)", "withheld, mend")
def table_evolved(t: Trial) -> Any:
    def evolve() -> None:
        with t.job.catalog().load_table((t.job.namespace, "orders")).update_schema() as update:
            update.add_column("theirs", StringType())

    def mend() -> None:
        with t.job.catalog().load_table((t.job.namespace, "orders")).update_schema() as update:
            update.delete_column("theirs")

    t.mend = mend
    return t.bring(held_at="audited", action=evolve)


@fault("others", "another machine runs the same job and publishes first", "overtaken")
def same_job_elsewhere(t: Trial) -> Any:
    def elsewhere() -> None:
        done = t.job.run(t.plan(), {"orders": [order(2)], "returns": [order(2)]}, 2, start=t.state)
        assert done.code == 0, done.err

    return t.bring(held_at="audited", action=elsewhere)


@fault("others", "another job publishes into one of the tables first", "recovers")
def other_job_first(t: Trial) -> Any:
    def elsewhere() -> None:
        own, t.job.name = t.job.name, "other"
        plan = t.job.plan(t.job.stream("returns"))
        done = t.job.run(plan, {"returns": [order(1)]}, 1, start={})
        t.job.name = own
        assert done.code == 0, done.err

    return t.bring(held_at="before_merge", action=elsewhere)


# -- the run itself -------------------------------------------------------------------------------------------------------------


@fault("the run", "killed before the merge", "withheld, retry")
def killed_before_the_merge(t: Trial) -> Any:
    t.environment["DATIVO_TEST_CRASH_AT"] = "before_merge"
    return t.bring()


@fault("the run", "killed after the merge, before its STATE", "recovers")
def killed_after_the_merge(t: Trial) -> Any:
    t.environment["DATIVO_TEST_CRASH_AT"] = "after_merge"
    return t.bring()


# -- how ------------------------------------------------------------------------------------------------------------------------


def _for_a_while(proxy: Any, seconds: float, kind: str, **attributes: Any) -> None:
    """Put a fault in, and take it out when the run has met it for so long."""
    proxy.toxic(kind, **attributes)
    threading.Timer(seconds, proxy.heal).start()


def _http(proxy: Faulty, t: Trial, wanted: str, kind: Any, times: int, *, free: bool = True) -> Any:
    made: list[Any] = []
    done = t.bring(held_at="end", action=lambda: made.append(proxy.fault(wanted, kind, times)))
    assert made[0].hits == times if free else made[0].hits, "the fault was never met"
    return done


def _restarted(t: Trial, name: str, stage: str) -> Any:
    """On servers of its own: kill one at a stage, let the run go on, and start it again from what it has kept."""
    stack = t.own_stack

    def again() -> None:
        stack.start_nessie() if name == "nessie" else stack.start_s3()
        stack.wait_until_ready()

    restart = threading.Timer(1, again)

    def kill() -> None:
        stack.kill(name)
        restart.start()

    t.environment["DATIVO_PUBLISH_DEADLINE_S"] = "90"
    done = t.bring(held_at=stage, action=kill)
    restart.join()
    return done


def _noise() -> str:
    """20 MB of text that does not compress to less than half."""
    return os.urandom(10_000_000).hex()


def _skewed(t: Trial, seconds: int) -> Any:
    library = t.directory / "skew.so"
    source = Path(__file__).parent / "skew.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, capture_output=True)
    t.environment |= {"LD_PRELOAD": str(library), "SKEW_S": str(seconds)}
    return t.bring()


_ANSWERS: tuple[tuple[str, str, str, str, Any, int], ...] = (
    ("merge_answer_lost", "Nessie", "the answer to the merge is lost, three times", MERGE, "lose_answer", 3),
    ("merge_answer_cut", "Nessie", "the answer to the merge is cut", MERGE, "cut", 1),
    ("commit_answer_lost", "Nessie", "the answer to a table's commit is lost", COMMIT, "lose_answer", 1),
    ("commits_throttled", "Nessie", "429 to a table's commit, twice", COMMIT, 429, 2),
    ("commit_fails", "Nessie", "500 to a table's commit", COMMIT, 500, 1),
    ("merge_unavailable", "Nessie", "503 to the merge, four times", MERGE, 503, 4),
    ("reads_unavailable", "Nessie", "503 to what is read, five times", READ, 503, 5),
    ("store_slows_down", "object store", "SlowDown, four times", PUT, "slow_down", 4),
    ("writes_fail", "object store", "500 to what is written, twice", PUT, 500, 2),
    ("write_answers_lost", "object store", "the answer to what was written is lost, twice", PUT, "lose_answer", 2),
)
"""Name, where, title, requests, what happens to them, how often: answers that are lost, cut, or errors, and a run that recovers."""


def _answer(where: str, wanted: str, kind: Any, times: int, t: Trial) -> Any:
    proxy = t.http_before_nessie() if where == "Nessie" else t.http_before_store()
    return _http(proxy, t, wanted, kind, times)


for _name, _where, _title, _wanted, _kind, _times in _ANSWERS:
    FAULTS[_name] = Fault(_where, _title, "recovers", partial(_answer, _where, _wanted, _kind, _times))


def last_event(done: Any) -> dict[str, Any]:
    """What a run said last."""
    lines = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    return lines[-1] if lines else {}
