"""Running the target as Meltano does: a process that reads messages from a pipe."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from target_iceberg import lake, load_plan, run_report
from target_iceberg.load_plan import Column, LakeCatalog, LoadPlan, Rejects, Rule, StreamPlan

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string"),
    Column(name="amount", type="decimal(10,2)"),
    Column(name="email", type="string", classification="PII"),
    Column(name="_sdc_source_file", type="string"),
    Column(name="_sdc_source_lineno", type="long"),
)
RULES = (
    Rule(name="orders.status.enum", kind="enum", columns=("status",), argument=["new", "paid"]),
    Rule(name="orders.amount.minimum", kind="minimum", columns=("amount",), argument=0),
)


def stream_plan(**changes: Any) -> StreamPlan:
    settings: dict[str, Any] = {
        "stream": "orders",
        "namespace": ("shop",),
        "table": "orders",
        "columns": COLUMNS,
        "key": ("id",),
        "rules": RULES,
        "write_mode": "upsert",
        "replace_files": True,
        "resumable": True,
        "fingerprint": "f",
    }
    return StreamPlan(**{**settings, **changes})


def job_plan(*streams: StreamPlan, violations: Any = "strict", **limits: Any) -> LoadPlan:
    return LoadPlan(
        tenant="acme",
        job="orders",
        state_id="dev:a-to-b",
        tap="tap-csv",
        catalog=LakeCatalog(kind="embedded", path="lake/acme"),
        streams=streams or (stream_plan(),),
        rejects=Rejects(violations=violations, **limits),
        state_dir="state/acme/orders",
    )


def order(number: Any, status: Any = "new", file: str = "a.csv", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "status": status,
        "amount": "1.50",
        "email": f"u{number}@example.com",
        "_sdc_source_file": file,
        "_sdc_source_lineno": 2,
        **more,
    }


@dataclass
class Result:
    """How a run of the target ended."""

    code: int
    states: list[Any]
    stderr: str
    report: run_report.RunReport | None


class Target:
    """The target in a project directory of its own."""

    order = staticmethod(order)
    stream_plan = staticmethod(stream_plan)
    job_plan = staticmethod(job_plan)
    schema: ClassVar[dict[str, Any]] = {
        "type": "SCHEMA",
        "stream": "orders",
        "schema": {"properties": {"id": {"type": "integer"}}},
        "key_properties": ["id"],
    }
    """The message."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.plan = job_plan()
        self._runs = 0

    def environment(self, **more: str) -> dict[str, str]:
        return {**os.environ, load_plan.PROJECT_ROOT_ENV: str(self.root), "DATIVO_LOG_FORMAT": "json", **more}

    def command(self, config: dict[str, Any] | None = None) -> list[str]:
        (self.root / "plan.json").write_bytes(load_plan.dump(self.plan))
        (self.root / "config.json").write_text(json.dumps({"load_plan": "plan.json"} if config is None else config))
        return [
            sys.executable,
            "-c",
            "from target_iceberg.singer.main import main; main()",
            "--config",
            str(self.root / "config.json"),
        ]

    def send(self, *messages: Any, config: dict[str, Any] | None = None, **environment: str) -> Result:
        """Run the target on messages (dicts, or bytes as they stand)."""
        text = b"".join(m if isinstance(m, bytes) else json.dumps(m).encode() + b"\n" for m in messages)
        done = subprocess.run(
            self.command(config),
            input=text,
            capture_output=True,
            check=False,
            cwd=self.root,
            env=self.environment(**environment),
        )
        return Result(
            done.returncode,
            [json.loads(line) for line in done.stdout.splitlines()],
            done.stderr.decode(),
            self.last_report(),
        )

    def run(
        self,
        records: list[Any],
        state: Any = None,
        *,
        start: Any = None,
        end: bool = True,
        schema: bool = True,
        **environment: str,
    ) -> Result:
        """A whole run of the job: start, schema, records, state, end."""
        self._runs += 1
        messages: list[Any] = [
            {"type": "DATIVO_START", "run": f"run-{self._runs:03d}", "state": self.state() if start is None else start}
        ]
        if schema:
            messages.append(self.schema)
        messages += [
            r if isinstance(r, bytes) or "type" in r else {"type": "RECORD", "stream": "orders", "record": r}
            for r in records
        ]
        if state is not None:
            messages.append({"type": "STATE", "value": {"bookmarks": {"orders": state}}})
        if end:
            messages.append({"type": "DATIVO_END"})
        return self.send(*messages, **environment)

    def state(self) -> Any:
        """What the state backend would hand to the tap."""
        return lake.state_of(self.plan)

    def last_report(self) -> run_report.RunReport | None:
        files = sorted((self.root / "state/acme/orders/runs").glob("*.json"), key=lambda f: f.stat().st_mtime_ns)
        return run_report.read(files[-1]) if files else None

    def rows(self, address: str = "shop.orders") -> list[dict[str, Any]]:
        """Rows of a table; [] when it does not exist."""
        table = lake.open_lake(self.plan.catalog).table(address)
        return [] if table is None else table.rows(limit=1_000_000).to_pylist()

    def ids(self) -> list[int]:
        """Ids in the table, sorted."""
        return sorted(r["id"] for r in self.rows())

    def snapshots(self) -> int:
        """How many snapshots the table has."""
        table = lake.open_lake(self.plan.catalog).table("shop.orders")
        return 0 if table is None else len(table.snapshots())


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target whose lake is empty."""
    monkeypatch.setenv(load_plan.PROJECT_ROOT_ENV, str(tmp_path))
    return Target(tmp_path)
