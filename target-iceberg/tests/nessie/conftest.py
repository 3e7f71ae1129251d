"""A branch and a namespace per test on a real Nessie, and the target run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from target_iceberg import lake, load_plan, run_report
from target_iceberg.load_plan import Column, LakeCatalog, LoadPlan, Rejects, Rule, StreamPlan
from target_iceberg.table.nessie import NessieCatalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string"),
    Column(name="amount", type="decimal(10,2)"),
)


class Job:
    """One job on a branch: `run` sends records of its streams through the target."""

    def __init__(self, root: Path, servers: Any, branch: str, namespace: str, name: str = "load") -> None:
        self.root, self.servers, self.branch, self.namespace, self.name = root, servers, branch, namespace, name
        root.mkdir(parents=True, exist_ok=True)
        self.properties = {
            "uri": f"{servers.nessie}/api/v1",
            "s3.endpoint": servers.s3,
            "s3.access-key-id": servers.access_key,
            "s3.secret-access-key": servers.secret_key,
            "s3.region": "us-east-1",
        }
        self.run_ids: list[str] = []

    def stream(self, name: str, **changes: Any) -> StreamPlan:
        """Upsert by id, unless said otherwise."""
        plan = StreamPlan(
            stream=name,
            namespace=(self.namespace,),
            table=name,
            columns=COLUMNS,
            key=("id",),
            write_mode="upsert",
            rules=(Rule(name=f"{name}.status.enum", kind="enum", columns=("status",), argument=["new", "paid"]),),
            fingerprint="f",
        )
        return msgspec.structs.replace(plan, **changes)

    def plan(self, *streams: StreamPlan, violations: Any = "warn") -> LoadPlan:
        return LoadPlan(
            tenant="acme",
            job=self.name,
            state_id=f"dev:tap-to-target:{self.name}",
            tap="tap-x",
            catalog=LakeCatalog(kind="nessie", properties=self.properties, branch=self.branch),
            streams=streams,
            rejects=Rejects(violations=violations),
            state_dir=f"state/acme/{self.name}",
        )

    def start(
        self,
        plan: LoadPlan,
        records: dict[str, list[dict[str, Any]]],
        at: int,
        start: Any = None,
        meanwhile: Callable[[], object] | None = None,
        **env: str,
    ) -> Any:
        """The target on records of its streams; the process, with its input written.

        `meanwhile` is called when all records are read and the end has not come.
        """
        run_id = run_report.new_run_id()
        self.run_ids.append(run_id)
        directory = self.root / run_id
        directory.mkdir()
        (directory / "plan.json").write_bytes(load_plan.dump(plan))
        (directory / "config.json").write_text('{"load_plan": "plan.json"}')
        state = lake.preflight(plan).state if start is None else start
        mark = {"at": at}
        messages: list[dict[str, Any]] = [{"type": "DATIVO_START", "run": run_id, "state": state}]
        messages += [
            {"type": "SCHEMA", "stream": s, "schema": {"properties": {}}, "key_properties": ["id"]} for s in records
        ]
        messages += [{"type": "RECORD", "stream": s, "record": r} for s, rows in records.items() for r in rows]
        messages += [
            {"type": "STATE", "value": {"bookmarks": dict.fromkeys(records, mark)}},
            {"type": "DATIVO_END"},
        ]
        (directory / "input.jsonl").write_text("".join(json.dumps(m) + "\n" for m in messages))
        command = [
            sys.executable,
            "-c",
            "from target_iceberg.singer.main import main; main()",
            "--config",
            "config.json",
        ]
        said = {**os.environ, load_plan.PROJECT_ROOT_ENV: str(directory), "DATIVO_LOG_FORMAT": "json", **env}
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        if meanwhile is None:
            with (directory / "input.jsonl").open() as source:
                return subprocess.Popen(command, cwd=directory, env=said, stdin=source, **pipes)
        process = subprocess.Popen(command, cwd=directory, env=said, stdin=subprocess.PIPE, **pipes)
        assert process.stdin is not None
        lines = [json.dumps(m) + "\n" for m in messages]
        process.stdin.write("".join(lines[:-2]))
        process.stdin.flush()
        meanwhile()
        process.stdin.write("".join(lines[-2:]))
        process.stdin.close()
        process.stdin = None  # communicate would flush it
        return process

    def finish(self, process: Any) -> Any:
        """Code, messages and report of a started run."""
        out, err = process.communicate(timeout=200)
        reports = sorted(self.root.glob(f"*/state/acme/{self.name}/runs/*.json"), key=lambda f: f.stat().st_mtime_ns)
        report = run_report.read(reports[-1]) if reports else None
        return Done(process.returncode, out, err, report)

    def run(self, plan: LoadPlan, records: dict[str, list[dict[str, Any]]], at: int, **more: Any) -> Any:
        return self.finish(self.start(plan, records, at, **more))

    def catalog(self, branch: str | None = None) -> NessieCatalog:
        properties = dict(self.properties)
        return NessieCatalog("test", properties.pop("uri"), branch or self.branch, **properties)

    def rows(self, table: str, branch: str | None = None) -> dict[int, str]:
        found = self.catalog(branch).load_table((self.namespace, table)).scan().to_arrow().to_pylist()
        assert len({r["id"] for r in found}) == len(found)
        return {r["id"]: r["status"] for r in found}

    def history(self) -> list[str]:
        """Messages of the commits on the branch, newest first."""
        catalog = self.catalog()
        place = self.branch.replace("/", "%2F")
        entries = catalog._call("GET", f"trees/{place}/history")["logEntries"]
        return [e["commitMeta"]["message"] for e in entries]


class Done:
    """What a run left."""

    def __init__(self, code: int, out: str, err: str, report: Any) -> None:
        self.code, self.out, self.err, self.report = code, out, err, report


@pytest.fixture
def job_on(tmp_path: Path) -> Callable[[Any], Job]:
    """Makes a job on a branch of its own of some servers."""

    def make(servers: Any) -> Job:
        mark = uuid.uuid4().hex[:10]
        return Job(tmp_path, servers, f"acme/{mark}", f"ns{mark}")

    return make


@pytest.fixture
def job(job_on: Callable[[Any], Job], servers: Any) -> Job:
    """A job on the servers that all tests share."""
    return job_on(servers)
