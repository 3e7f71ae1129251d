"""Rows are inserted, changed and deleted while jobs load them and are killed at random: in the end the lake is the source.

SECONDS_OF_SOAK says for how long (60); `make soak` says 20 minutes. A job for PostgreSQL and one for MySQL read by a cursor, with a
lookback for transactions that commit late and a comparison of keys, and one follows PostgreSQL's log.
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
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql
import pytest
from adbc_driver_postgresql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.smoke
DURATION_S = float(os.environ.get("SECONDS_OF_SOAK") or 60)
CURSOR = """\
source_connector: KIND
target_connector: iceberg
source:
  tables: [{name: SCHEMA.TABLE, object: TABLE}]
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


class Source:
    """Some tables, and connections that write to them."""

    kind = "postgres"
    jobs: ClassVar[dict[str, str]] = {
        "orders": CURSOR.replace("KIND", kind).replace("SCHEMA", "public").replace("TABLE", "orders"),
        "accounts": LOG,
    }
    """By the tables that they load."""
    now, some_numbers = "clock_timestamp()", "generate_series(1, 5000) AS s (i)"
    on_conflict = (
        "ON CONFLICT (id) DO UPDATE SET note = excluded.note, total = excluded.total, changed = excluded.changed"
    )
    columns = "id bigint PRIMARY KEY, note text, total numeric(12,2), changed timestamptz NOT NULL"
    analyze = "ANALYZE"

    def __init__(self, server: Any, database: str, seed: int) -> None:
        self.server, self.database = server, database
        self._stop, self._seed = threading.Event(), seed
        self._threads: list[threading.Thread] = []
        self.statements = 0
        for table in self.jobs:
            self.run(
                f"CREATE TABLE {table} ({self.columns})",
                f"INSERT INTO {table} SELECT i, 'first', i, {self.now} FROM {self.some_numbers}",
                f"CREATE INDEX {table}_changed ON {table} (changed)",
                f"{self.analyze} {table}",
            )

    @property
    def environment(self) -> dict[str, str]:
        """For a job that reads it."""
        server = self.server
        where = {"PGHOST": server.host, "PGPORT": str(server.port), "PGDATABASE": self.database}
        return {**where, "PGUSER": server.user, "PGPASSWORD": server.password}

    def connect(self) -> Any:
        """A connection by DB-API that commits each statement."""
        return dbapi.connect(self.server.uri.rpartition("/")[0] + f"/{self.database}", autocommit=True)

    def run(self, *statements: str) -> None:
        with self.connect() as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self.connect() as connection, connection.cursor() as cursor:
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
        with self.connect() as connection, connection.cursor() as cursor:
            while not self._stop.wait(0.01):
                for table in self.jobs:
                    row = choice.randrange(1, 8000)
                    kind = choice.choice(("insert", "update", "delete"))
                    cursor.execute(self._statement(kind, table, row, choice.randrange(10**6)))
                    self.statements += 1

    def _statement(self, kind: str, table: str, row: int, value: int) -> str:
        if kind == "insert":
            return f"INSERT INTO {table} VALUES ({row}, 'new {value}', {value}, {self.now}) {self.on_conflict}"
        if kind == "update":
            return f"UPDATE {table} SET total = {value}, changed = {self.now} WHERE id BETWEEN {row} AND {row + 5}"
        return f"DELETE FROM {table} WHERE id BETWEEN {row} AND {row + 2}"


class MySqlSource(Source):
    """The same in MariaDB, for a job that reads by a cursor."""

    kind = "mysql"
    jobs: ClassVar[dict[str, str]] = {
        "payments": CURSOR.replace("KIND", kind).replace("SCHEMA.TABLE", "payments").replace("TABLE", "payments")
    }
    now, some_numbers = "SYSDATE(6)", "(SELECT seq AS i FROM seq_1_to_5000) AS s"
    on_conflict = "ON DUPLICATE KEY UPDATE note = VALUES(note), total = VALUES(total), changed = VALUES(changed)"
    columns = "id bigint PRIMARY KEY, note text, total decimal(12,2), changed datetime(6) NOT NULL"
    analyze = "ANALYZE TABLE"

    @property
    def environment(self) -> dict[str, str]:
        """For a job that reads it."""
        server = self.server
        where = {"MYSQL_HOST": server.host, "MYSQL_PORT": str(server.port), "MYSQL_DATABASE": self.database}
        return {**where, "MYSQL_USER": server.user, "MYSQL_PASSWORD": server.password}

    def connect(self) -> Any:
        """A connection by DB-API that commits each statement."""
        server = self.server
        who = {"user": server.user, "password": server.password, "database": self.database}
        return pymysql.connect(host=server.host, port=server.port, autocommit=True, **who)


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("SEED") or random.randrange(10**6))


@pytest.fixture
def source(postgres_server: Any, seed: int) -> Iterator[Source]:
    name = f"soak{uuid.uuid4().hex[:12]}"
    with dbapi.connect(postgres_server.uri, autocommit=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        made = Source(postgres_server, name, seed)
        yield made
        made.stop()
        made.rows(
            "SELECT pg_drop_replication_slot(slot_name)::text FROM pg_replication_slots WHERE database = current_database()"
        )
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def mysql_source(mariadb_server: Any, seed: int) -> Iterator[MySqlSource]:
    name, server = f"soak{uuid.uuid4().hex[:12]}", mariadb_server
    admin = pymysql.connect(host=server.host, port=server.port, user=server.user, password=server.password)
    with admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        made = MySqlSource(server, name, seed)
        yield made
        made.stop()
        cursor.execute(f"DROP DATABASE {name}")


@pytest.mark.timeout(DURATION_S + 600)
def test_in_the_end_the_lake_is_the_source(source: Source, mysql_source: Source, seed: int, tmp_path: Path) -> None:
    sources = (source, mysql_source)
    environment = {**os.environ, **source.environment, **mysql_source.environment, "DATIVO_CHECKPOINT_EVERY_S": "0"}
    jobs = {job: text for each in sources for job, text in each.jobs.items()}
    for name, text in jobs.items():
        file = tmp_path / f"jobs/acme/{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        _said(tmp_path, environment, "contract", "infer", f"acme/{name}")
    for contract in tmp_path.glob("assets/*/v1.0/*.yaml"):
        contract.write_text(contract.read_text().replace("status: draft", "status: active"))
    choice = random.Random(seed)
    for each in sources:
        each.start()
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
    for each in sources:
        each.stop()
    for name in jobs:
        _said(tmp_path, environment, "run", "--config", f"jobs/acme/{name}.yaml")
    statements = sum(each.statements for each in sources)
    sys.stdout.write(f"seed {seed}: {runs} runs, {killed} killed, {statements} statements\n")
    for each in sources:
        for table in each.jobs:
            theirs = {r[0]: (r[1], r[2]) for r in each.rows(f"SELECT id, note, CONCAT(total) FROM {table}")}
            assert theirs
            assert _lake(tmp_path, environment, f"{each.kind}.{table}") == theirs
    assert runs > 3


def _lake(root: Path, environment: dict[str, str], table: str) -> dict[int, tuple[str, str]]:
    said = _said(root, environment, "table", "show", f"acme/{table}", "--format", "json", "--limit", "1000000")
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
