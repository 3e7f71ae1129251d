"""Jobs whose tap and target are small programs, run by the real Meltano."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dativo.commands.run import Children, Runs, prepare
from dativo.config.model.contract import Contract
from dativo.config.model.registry import ConnectorType, PluginSpec
from dativo.config.model.resolved import Incremental, Plugin, ResolvedJob, Secret, Source, SourceObject, Target
from dativo.runtime.execution import RunOptions
from dativo.runtime.runlog import open_log
from target_iceberg.load_plan import Column

PLUGINS = Path(__file__).parent / "plugins"


def fake_job(tenant: str, name: str, tap: dict[str, Any], target: dict[str, Any], **changes: Any) -> ResolvedJob:
    plugin = PluginSpec(name="tap-fake", executable="fake-tap")
    kind = ConnectorType(roles=["source", "target"], category="database", plugin=plugin)
    contract = Contract(
        path=Path("a.yaml"), file="a.yaml", spelling="flat", name="orders", version="1.0.0", object="orders", domain="shop",
        columns=(Column(name="id", type="long", required=True),), key=("id",), digest="0" * 64,
    )  # fmt: skip
    source = Source(
        connector="fake", type="fake", connector_type=kind, plugin=Plugin(name="tap-fake", executable="fake-tap"),
        settings=tap, secrets=(Secret(setting="token", name="FAKE_TOKEN"),),
        objects=(SourceObject(name="orders", contract=contract, cursor_field="id"),),
        incremental=Incremental(strategy="updated_at", cursor_field="id"), identity={},
    )  # fmt: skip
    sink = Target(
        connector="iceberg", type="iceberg", connector_type=kind, plugin=Plugin(name="target-fake", executable="fake-target"),
        settings=target, secrets=(), branch=None, warehouse=None, namespace=None, table=None, connection={},
        target_file_size_mb=None,
    )  # fmt: skip
    path = Path(f"jobs/{tenant}/{name}.yaml")
    return ResolvedJob(path=path, tenant=tenant, name=name, environment="dev", source=source, target=sink, **changes)


@dataclass
class Project:
    """A project directory, and the command as it is called there."""

    root: Path
    log: io.StringIO = field(default_factory=io.StringIO)

    def run(self, *jobs: ResolvedJob, parallel: int = 1, **options: Any) -> int:
        """Run jobs as `dativo run` does once it has loaded them."""
        children = Children()
        log = open_log("json", "debug", self.log)
        settings = RunOptions(root=self.root, log_level="debug", **options)
        try:
            prepared = [prepare(job, settings) for job in jobs]
            return Runs(settings, log, children).run_all(prepared, parallel=parallel)
        finally:
            children.discard()

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.getvalue().splitlines()]

    def last(self, event_type: str = "run_finished") -> dict[str, Any]:
        return [e for e in self.events if e["event_type"] == event_type][-1]

    def job(
        self, tenant: str = "acme", name: str = "orders", *, tap: str = "finish", target: str = "", **changes: Any
    ) -> ResolvedJob:
        started = str(self.root / "started")
        return fake_job(tenant, name, {"act": tap, "started": started}, {"act": target} if target else {}, **changes)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("PATH", f"{PLUGINS}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("TAP_FAKE_LEAK", "another tenant's")
    monkeypatch.setenv("FAKE_TOKEN", "tok-0123456789")
    root = tmp_path / "a project"
    root.mkdir()
    return Project(root)
