"""The program as users start it: a process of its own in a project of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from adbc_driver_postgresql import dbapi

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FAKES = ROOT / "tests/runtime/plugins"
FAKE_SOURCE = """\
name: fake
type: csv
default_engine: {{options: {{plugin: tap-fake, executable: fake-tap, act: {act}, started: "{started}"}}}}
"""
FAKE_TARGET = """\
name: fake
type: iceberg
default_engine: {options: {plugin: target-fake, executable: fake-target}}
"""


@dataclass
class Project:
    """A copy of the demo, and `dativo` started in it."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), str(FAKES), os.environ["PATH"]])
        return {**os.environ, "PATH": path}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dativo", *map(str, arguments)]
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def dativo(self, *arguments: object, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it never shows a traceback."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=240)
        assert "Traceback" not in out + err, out + err
        if code is not None:
            assert process.returncode == code, out + err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def run(self, job: str = "orders", *options: object, code: int | None = 0) -> dict[str, Any]:
        """`dativo run` of one demo job; returns the last event."""
        done = self.dativo("run", "--config", f"jobs/demo/{job}.yaml", "--log-format", "json", *options, code=code)
        return events(done.stderr)[-1]

    def table(self, name: str, limit: int = 100_000) -> dict[str, Any]:
        """`dativo table show` of a table of the demo tenant."""
        done = self.dativo("table", "show", f"demo/{name}", "--format", "json", "--limit", limit)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def use_fakes(self, act: str) -> Path:
        """Give the demo a tap that does `act`; returns the file that it makes when it has started."""
        started = self.root / "started"
        for role, text in (("sources", FAKE_SOURCE.format(act=act, started=started)), ("targets", FAKE_TARGET)):
            file = self.root / "connectors" / role / "fake.yaml"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        job = self.root / "jobs/demo/orders.yaml"
        job.write_text(
            job.read_text()
            .replace("connector: csv", "connector: fake")
            .replace("connector: iceberg", "connector: fake")
        )
        return started


def events(text: str) -> list[dict[str, Any]]:
    """JSON log lines."""
    return [json.loads(line) for line in text.splitlines()]


def wait_for(file: Path, process: subprocess.Popen[str], timeout_s: float = 60.0) -> None:
    """Until a file is there; fails when the process ends first."""
    deadline = time.monotonic() + timeout_s
    while not file.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, f"{file} never came"
        time.sleep(0.01)


def descendants(pid: int) -> set[int]:
    """All living processes below one, by /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    pending = [pid]
    while pending:
        for child in children.get(pending.pop(), []):
            found.add(child)
            pending.append(child)
    return found


def wait_until_gone(pids: set[int], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while living := {p for p in pids if Path(f"/proc/{p}").exists() and _state(p) not in ("Z", None)}:
        assert time.monotonic() < deadline, f"still there: {living}"
        time.sleep(0.01)


def _state(pid: int) -> str | None:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "my project"
    for name in ("jobs/demo", "assets/csv", "examples", "connectors"):
        shutil.copytree(ROOT / name, root / name)
    return Project(root)


@pytest.fixture
def helpers() -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(events=events, wait_for=wait_for, descendants=descendants, wait_until_gone=wait_until_gone)


class Shop:
    """A project of one job, and a database that it loads."""

    job = """\
source_connector: postgres
target_connector: iceberg
source:
  tables: ["public.*"]
  exclude: ["public.tmp_*"]
  incremental: {cursor_field: changed}
  engine: {options: {chunk_rows: 500}}
"""

    def __init__(self, root: Path, environment: dict[str, str], uri: str) -> None:
        self.root, self.environment, self.uri = root, environment, uri
        (root / "jobs/acme").mkdir(parents=True)
        (root / "jobs/acme/shop.yaml").write_text(self.job)

    def sql(self, *statements: str) -> None:
        with dbapi.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def query(self, query: str) -> Any:
        with dbapi.connect(self.uri, autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "dativo", *arguments]
        return subprocess.Popen(
            command, cwd=self.root, env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def dativo(self, *arguments: str, code: int = 0) -> str:
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=240)
        assert process.returncode == code, out + err
        assert "Traceback" not in out + err
        return out + err

    def run(self, *options: str, code: int = 0) -> dict[str, Any]:
        said = self.dativo("run", "--config", "jobs/acme/shop.yaml", "--log-format", "json", *options, code=code)
        last: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
        return last

    def rows(self, table: str) -> list[dict[str, Any]]:
        said = self.dativo("table", "show", f"acme/{table}", "--format", "json", "--limit", "100000")
        rows: list[dict[str, Any]] = json.loads(said)["rows"]
        return rows

    def infer(self) -> str:
        said = self.dativo("contract", "infer", "acme/shop")
        for file in (self.root / "assets/postgres/v1.0").glob("*.yaml"):
            file.write_text(file.read_text().replace("status: draft", "status: active"))
        return said


@pytest.fixture
def make_shop() -> type[Shop]:
    """For a database of another kind."""
    return Shop


@pytest.fixture
def shop(tmp_path: Path, postgres_server: Any) -> Iterator[Shop]:
    name = f"e{uuid.uuid4().hex[:16]}"
    with dbapi.connect(postgres_server.uri, autocommit=True) as admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        environment = {
            **os.environ,
            "PGHOST": postgres_server.host,
            "PGPORT": str(postgres_server.port),
            "PGDATABASE": name,
            "PGUSER": postgres_server.user,
            "PGPASSWORD": postgres_server.password,
        }
        made = Shop(tmp_path, environment, postgres_server.uri.rpartition("/")[0] + f"/{name}")
        made.sql(
            "CREATE TABLE orders (id bigint PRIMARY KEY, customer_email text NOT NULL, total numeric(10,2), tags text[], changed timestamptz)",
            "COMMENT ON TABLE orders IS 'Orders of the shop.'",
            "COMMENT ON COLUMN orders.total IS 'With tax.'",
            "CREATE TABLE events (kind text, changed timestamptz NOT NULL)",
            "CREATE TABLE tmp_import (x int)",
            "INSERT INTO orders SELECT i, 'a' || i || '@b.example', i, ARRAY['x'], timestamptz '2024-01-01 00:00+00' + i * interval '1 s' "
            "FROM generate_series(1, 5000) i",
            "INSERT INTO events SELECT 'click', timestamptz '2024-01-01 00:00+00' + i * interval '1 s' FROM generate_series(1, 10) i",
            "ANALYZE",
        )
        yield made
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")
