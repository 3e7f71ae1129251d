"""Rows are inserted, changed and deleted while jobs load them and are killed at random: in the end the lake is the source.

SECONDS_OF_SOAK says for how long (60); `make soak` says 20 minutes. One job reads by a cursor, with a lookback for transactions that commit
late and a comparison of keys, and one follows the log.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from adbc_driver_postgresql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.smoke
DURATION_S = float(os.environ.get("SECONDS_OF_SOAK") or 60)
CURSOR = """\
source_connector: postgres
target_connector: iceberg
source:
  tables: [{name: public.orders, object: orders}]
  incremental: {cursor_field: changed, lookback_seconds: 30}
  detect_deletes: keys
  engine: {options: {chunk_rows: 2000}}
target: {hard_delete: true}
"""
LOG = """\
source_connector: postgres
target_connector: iceberg
source:
  tables: [{name: public.accounts, object: accounts}]
  incremental: {strategy: log_based}
  engine: {options: {chunk_rows: 2000}}
target: {hard_delete: true}
"""
TABLES = ("orders", "accounts")


class Source:
    """Two tables, and connections that write to them."""

    def __init__(self, uri: str, seed: int) -> None:
        self.uri = uri
        self._stop, self._seed = threading.Event(), seed
        self._threads: list[threading.Thread] = []
        self.statements = 0
        for table in TABLES:
            self.run(
                f"CREATE TABLE {table} (id bigint PRIMARY KEY, note text, total numeric(12,2), changed timestamptz NOT NULL)",
                f"INSERT INTO {table} SELECT i, 'first', i, clock_timestamp() FROM generate_series(1, 5000) i",
                f"CREATE INDEX ON {table} (changed)",
                f"ANALYZE {table}",
            )

    def run(self, *statements: str) -> None:
        with dbapi.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with dbapi.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def start(self) -> None:
        """Begin to write, by two connections."""
        self._threads = [threading.Thread(target=self._write, args=(self._seed + i,)) for i in range(2)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop writing."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, seed: int) -> None:
        choice = random.Random(seed)
        with dbapi.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            while not self._stop.wait(0.01):
                for table in TABLES:
                    row = choice.randrange(1, 8000)
                    kind = choice.choice(("insert", "update", "delete"))
                    cursor.execute(_statement(kind, table, row, choice.randrange(10**6)))
                    self.statements += 1


def _statement(kind: str, table: str, row: int, value: int) -> str:
    if kind == "insert":
        return (
            f"INSERT INTO {table} VALUES ({row}, 'new {value}', {value}, clock_timestamp()) ON CONFLICT (id) DO UPDATE SET note = "
            f"excluded.note, total = excluded.total, changed = excluded.changed"
        )
    if kind == "update":
        return f"UPDATE {table} SET total = {value}, changed = clock_timestamp() WHERE id BETWEEN {row} AND {row + 5}"
    return f"DELETE FROM {table} WHERE id BETWEEN {row} AND {row + 2}"


@pytest.fixture
def source(postgres_server: Any) -> Iterator[Source]:
    name = f"soak{uuid.uuid4().hex[:12]}"
    seed = int(os.environ.get("SEED") or random.randrange(10**6))
    with dbapi.connect(postgres_server.uri, autocommit=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        made = Source(postgres_server.uri.rpartition("/")[0] + f"/{name}", seed)
        yield made
        made.stop()
        made.rows(
            "SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE database = current_database()"
        )
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def environment(source: Source, postgres_server: Any) -> dict[str, str]:
    server = postgres_server
    where = {"PGHOST": server.host, "PGPORT": str(server.port), "PGDATABASE": source.uri.rpartition("/")[2]}
    return {
        **os.environ,
        **where,
        "PGUSER": server.user,
        "PGPASSWORD": server.password,
        "DATIVO_CHECKPOINT_EVERY_S": "0",
    }


@pytest.mark.timeout(DURATION_S + 600)
def test_in_the_end_the_lake_is_the_source(source: Source, environment: dict[str, str], tmp_path: Path) -> None:
    jobs = {"orders": CURSOR, "accounts": LOG}
    for name, text in jobs.items():
        file = tmp_path / f"jobs/acme/{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        _said(tmp_path, environment, "contract", "infer", f"acme/{name}")
        contract = tmp_path / f"assets/postgres/v1.0/{name}.yaml"
        contract.write_text(contract.read_text().replace("status: draft", "status: active"))
    choice = random.Random(source.statements)
    source.start()
    until, runs, killed = time.monotonic() + DURATION_S, 0, 0
    while time.monotonic() < until:
        for name in jobs:
            command = [sys.executable, "-m", "dativo", "run", "--config", f"jobs/acme/{name}.yaml"]
            process = subprocess.Popen(
                command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            runs += 1
            try:
                process.wait(timeout=choice.choice((0.5, 2, 4, 60)))
            except subprocess.TimeoutExpired:
                killed += 1
                _kill(process)
    source.stop()
    for name in jobs:
        _said(tmp_path, environment, "run", "--config", f"jobs/acme/{name}.yaml")
    sys.stdout.write(f"{runs} runs, {killed} killed, {source.statements} statements\n")
    for table in TABLES:
        theirs = {r[0]: (r[1], r[2]) for r in source.rows(f"SELECT id, note, total::text FROM {table}")}
        assert _lake(tmp_path, environment, table) == theirs
    assert runs > 3


def _lake(root: Path, environment: dict[str, str], table: str) -> dict[int, tuple[str, str]]:
    said = _said(root, environment, "table", "show", f"acme/postgres.{table}", "--format", "json", "--limit", "1000000")
    rows = json.loads(said)["rows"]
    assert len({r["id"] for r in rows}) == len(rows), "doubled"
    return {r["id"]: (r["note"], str(r["total"])) for r in rows}


def _said(root: Path, environment: dict[str, str], *arguments: str) -> str:
    """What a command says that must end well."""
    command = [sys.executable, "-m", "dativo", *arguments]
    done = subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The run and all that it has started, at once, as a power cut would."""
    for pid in [process.pid, *_below(process.pid)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _below(pid: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, todo = [], [pid]
    while todo:
        more = children.get(todo.pop(), [])
        found += more
        todo += more
    return found
