"""A source whose truth is known, a job that loads it, and a hand that kills any part of it at any point."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_iceberg import lake, run_report
from target_iceberg.load_plan import LakeCatalog
from target_iceberg.stages import CRASH_AT_ENV, STAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TAP = Path(__file__).with_name("tap_ledger.py")
REGISTRY = """\
version: 3
connectors:
  ledger:
    roles: [source]
    category: api
    plugin: {name: tap-ledger, executable: tap-ledger}
    auth: {methods: [none]}
    supports_incremental: true
    incremental_strategies: [append, updated_at, full_refresh]
    incremental_strategy_default: append
    cursor_field_default: seq
    resume: exclusive
    settings: {source: {type: string}}
    identity: [source]
    selection: {key: objects}
"""
CONTRACT = """\
name: NAME
version: "1.0"
domain: crash
schema:
  - {name: seq, type: bigint, required: true}
  - {name: id, type: bigint, required: trueKEY}
  - {name: kind, type: string, enum: [a, b, c]}
  - {name: note, type: string}
target: LAYOUT
"""
JOB = """\
tenant_id: acme
source_connector: ledger
target_connector: iceberg
source:
  engine: {options: {source: SOURCE}}
  objects: [NAMES]
  incremental: {strategy: STRATEGY}
assets: {ASSETS}
target: {write_mode: MODE, content_digest: DIGEST, hard_delete: DELETES}
schema_validation_mode: warn
"""
LAYOUTS = (
    "{}",
    "{sort_by: [note]}",
    "{partitioning: [kind]}",
    "{partitioning: ['bucket(3, id)'], sort_by: [note desc]}",
)
PARTS = ("whole", "tap_ledger", "target-iceberg", "meltano")
RUN = ("run", "--config", "jobs/acme/load.yaml", "--log-format", "json")
Row = tuple[int, int, str, str]


class World:
    """One job in one write mode, its source, and all contents that its tables may have.

    Args:
        root: empty directory.
        mode: append, upsert or replace.
        streams: how many.
        seed: of everything random.
    """

    def __init__(self, root: Path, mode: str, streams: int, seed: int) -> None:
        self.root, self.mode, self.random = root / "project", mode, random.Random(seed)
        self.names = [f"s{i}" for i in range(1, streams + 1)]
        self._source: dict[str, list[dict[str, Any]]] = {name: [] for name in self.names}
        self._seq = 0
        self._allowed: dict[str, list[list[Row]]] = {name: [[]] for name in self.names}
        self.layout = self.random.choice(LAYOUTS)
        self.with_deletes = mode == "upsert" and self.random.random() < 0.5
        self.with_digest = self.random.random() < 0.5
        self.log: list[str] = [f"seed {seed}, {self.layout}, deletes {self.with_deletes}, digest {self.with_digest}"]
        self._write_project(root)
        self._lake = LakeCatalog(kind="embedded", path=str(self.root / "lake/acme"))

    def _write_project(self, root: Path) -> None:
        key = ", primaryKey: true" if self.mode == "upsert" else ""
        strategy = "full_refresh" if self.mode == "replace" else "append"
        texts = {
            "registry/connectors.yaml": REGISTRY,
            "connectors/sources/ledger.yaml": "name: ledger\ntype: ledger\n",
            "jobs/acme/load.yaml": JOB.replace("SOURCE", str(root / "source.json"))
            .replace("NAMES", ", ".join(self.names))
            .replace("STRATEGY", strategy)
            .replace("ASSETS", ", ".join(f"{n}: {n}" for n in self.names))
            .replace("MODE", self.mode)
            .replace("DIGEST", str(self.with_digest).lower())
            .replace("DELETES", str(self.with_deletes).lower()),
            "bin/tap-ledger": f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(TAP))} "$@"\n',
            **{
                f"assets/ledger/v1.0/{n}.yaml": CONTRACT.replace("NAME", n)
                .replace("KEY", key)
                .replace("LAYOUT", self.layout)
                for n in self.names
            },
        }
        for name, text in texts.items():
            file = self.root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (self.root / "bin/tap-ledger").chmod(0o755)
        # Locks and state are per machine; the second one sees the same lake.
        self.twin = root / "twin"
        shutil.copytree(self.root, self.twin)
        (self.root / "lake").mkdir()
        (self.twin / "lake").symlink_to(self.root / "lake")

    # -- the source and what follows from it ------------------------------------------------------------------------------

    def change(self) -> None:
        """More rows; in a source that is read in full also others and fewer."""
        for rows in self._source.values():
            if self.mode == "replace" and rows and self.random.random() < 0.5:
                del rows[: self.random.randrange(len(rows))]
            for _ in range(self.random.randrange(50, 1500)):
                self._seq += 1
                number = self.random.randrange(1, 2000) if self.mode == "upsert" else self._seq
                kind = "x" if self.random.random() < 0.004 else self.random.choice("abc")
                rows.append({"seq": self._seq, "id": number, "kind": kind, "note": f"é{self._seq % 97}"})
                if self.with_deletes:
                    gone = kind != "x" and self.random.random() < 0.2
                    rows[-1]["_sdc_deleted_at"] = "2026-01-01T00:00:00Z" if gone else None
        document = {
            "mode": self.mode,
            "deletes": self.with_deletes,
            "pace_s": self.random.choice([0, 0.005, 0.03]),
            "streams": self._source,
        }
        partial = self.root.parent / ".source.json"
        partial.write_text(json.dumps(document))
        partial.replace(self.root.parent / "source.json")
        for name in self.names:
            self._allowed[name].append(self.expected(name))

    def expected(self, name: str) -> list[Row]:
        """What the table must hold when everything has been loaded."""
        good = [r for r in self._source[name] if r["kind"] != "x"]
        if self.mode == "upsert":
            good = [r for r in {r["id"]: r for r in good}.values() if not r.get("_sdc_deleted_at")]
        return sorted(map(_row, good))

    def actual(self, name: str, suffix: str = "") -> list[dict[str, Any]]:
        table = lake.open_lake(self._lake).table(f"crash.{name}{suffix}")
        return [] if table is None else table.rows(limit=1_000_000).to_pylist()

    # -- what must always hold --------------------------------------------------------------------------------------------

    def check_nothing_half_done(self) -> None:
        """Each table holds what it held, or all of a run."""
        for name in self.names:
            rows = sorted(_row(r) for r in self.actual(name))
            assert rows in self._allowed[name], self._differs(name, rows)

    def check_all_loaded(self) -> None:
        """Nothing lost, nothing doubled, every bad record in the rejects once."""
        for name in self.names:
            rows = sorted(_row(r) for r in self.actual(name))
            assert rows == self.expected(name), self._differs(name, rows)
            self._check_receipt(name)
            self._allowed[name] = [rows]
            if self.mode != "replace":  # which reads, and so rejects, everything again in every run
                bad = sorted(r["seq"] for r in self._source[name] if r["kind"] == "x")
                found = [json.loads(r["record"])["seq"] for r in self.actual(name, "__rejects")]
                assert sorted(found) == bad, (name, self.log, sorted(found), bad)

    def _check_receipt(self, name: str) -> None:
        table = lake.open_lake(self._lake).table(f"crash.{name}")
        if table is not None:
            found = table.verify()
            assert found.problems == [], (found, self.log)
            assert (found.content_rows is not None) == self.with_digest, self.log

    def check_reports(self) -> None:
        """Conservation in each report that was left."""
        for file in [*self.root.glob("state/acme/load/runs/*.json"), *self.twin.glob("state/acme/load/runs/*.json")]:
            for s in run_report.read(file).streams:
                assert s.read == s.published + s.rejected + s.superseded + s.deleted + s.withheld, (file, s, self.log)

    def _differs(self, name: str, rows: list[Row]) -> str:
        wanted = self.expected(name)
        lost, more = len(set(wanted) - set(rows)), len(rows) - len(set(rows))
        return f"{name} ({self.mode}): {len(rows)} rows, wanted {len(wanted)}, lost {lost}, doubled {more}; {self.log}"

    # -- runs and kills ---------------------------------------------------------------------------------------------------

    def start(self, root: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(self.root / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.Popen(
            [sys.executable, "-m", "dativo", *RUN],
            cwd=root or self.root,
            env={**os.environ, "PATH": path, **environment},
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def run(self) -> None:
        """A run that nobody disturbs: it publishes."""
        process = self.start(**self.checkpoint_often())
        _, err = process.communicate(timeout=240)
        assert process.returncode in (0, 1), (self.log, err)  # 1: there are rejects

    def checkpoint_often(self) -> dict[str, str]:
        return {"DATIVO_CHECKPOINT_EVERY_S": self.random.choice(["0", "0.2", "300"])}

    def kill_at_stage(self, stage: str) -> None:
        """A run whose target dies when it comes to a stage, if it comes there."""
        at = f"{stage}:{self.random.choice([1, 1, 2, 3])}"
        self.log.append(f"stage {at}")
        often = {"DATIVO_CHECKPOINT_EVERY_S": "0"} if stage.startswith("checkpoint") else self.checkpoint_often()
        process = self.start(**often, **{CRASH_AT_ENV: at})
        process.communicate(timeout=240)

    def kill_at_random(self, longest_s: float) -> None:
        """A run of which one part, or all, is killed after a random while."""
        part, after = self.random.choice(PARTS), self.random.uniform(0.3, longest_s)
        self.log.append(f"{part} after {after:.2f} s")
        process = self.start(**self.checkpoint_often())
        kill(process, part, after)

    def race(self, longest_s: float) -> None:
        """Two runs at once on two machines; one, both or none of them is killed."""
        self.log.append("race")
        first = self.start(**self.checkpoint_often())
        with contextlib.suppress(subprocess.TimeoutExpired):
            first.communicate(timeout=self.random.uniform(0, 1.5))
        second = self.start(self.twin, **self.checkpoint_often())
        for process in self.random.sample([first, second], self.random.choice([0, 1, 1, 2])):
            kill(process, self.random.choice(PARTS), self.random.uniform(0, longest_s))
        for process in (first, second):
            process.communicate(timeout=240)


def kill(process: subprocess.Popen[str], part: str, after_s: float) -> None:
    """SIGKILL for a part of a run's processes after a while; waits until all of them are gone."""
    try:
        process.communicate(timeout=after_s)
    except subprocess.TimeoutExpired:
        family = {p: command(p) for p in {process.pid, *descendants(process.pid)}}
        for pid in [p for p, c in family.items() if part == "whole" or part in c] or [process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=240)
        wait_until_gone(set(family))


def _row(record: dict[str, Any]) -> Row:
    return record["seq"], record["id"], record["kind"], record["note"]


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def descendants(pid: int) -> Iterator[int]:
    """All processes below one, by /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    pending = [pid]
    while pending:
        for child in children.get(pending.pop(), []):
            yield child
            pending.append(child)


def wait_until_gone(pids: set[int], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while living := {p for p in pids if _is_alive(p)}:
        assert time.monotonic() < deadline, f"still there: {living}"
        time.sleep(0.01)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def stages() -> tuple[str, ...]:
    return STAGES


@pytest.fixture
def world(tmp_path: Path) -> Callable[[str, int, int], World]:
    return lambda mode, streams, seed: World(tmp_path, mode, streams, seed)
