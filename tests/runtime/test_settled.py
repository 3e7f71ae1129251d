"""A run that was killed behind its publish has published, whatever became of its report."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from dativo.runtime.settled import report_from_lake
from target_iceberg import load_plan
from target_iceberg.load_plan import Column, LakeCatalog, LoadPlan, StreamPlan

if TYPE_CHECKING:
    from pathlib import Path


def stream(name: str) -> StreamPlan:
    return StreamPlan(
        stream=name, namespace=("shop",), table=name, columns=(Column(name="id", type="long"),), key=("id",),
        write_mode="upsert", fingerprint="f",
    )  # fmt: skip


@pytest.fixture
def plan(tmp_path: Path) -> LoadPlan:
    return LoadPlan(
        tenant="acme", job="j", state_id="s", tap="tap-x", catalog=LakeCatalog(kind="embedded", path=str(tmp_path / "lake")),
        streams=(stream("orders"), stream("payments")), state_dir="state",
    )  # fmt: skip


def publish(plan: LoadPlan, root: Path, *streams: str) -> None:
    """Run the real target on one record of each stream, as the run `r1`."""
    part = load_plan.LoadPlan(
        **{f: getattr(plan, f) for f in plan.__struct_fields__} | {"streams": tuple(map(stream, streams))}
    )
    (root / "plan.json").write_bytes(load_plan.dump(part))
    (root / "config.json").write_text(json.dumps({"load_plan": "plan.json"}))
    lines: list[Any] = [{"type": "DATIVO_START", "run": "r1", "state": {}}]
    for name in streams:
        lines += [{"type": "SCHEMA", "stream": name, "schema": {"properties": {"id": {"type": "integer"}}}},
                  {"type": "RECORD", "stream": name, "record": {"id": 1}}]  # fmt: skip
    lines += [{"type": "STATE", "value": {"bookmarks": {n: {"x": 1} for n in streams}}}, {"type": "DATIVO_END"}]
    command = [
        sys.executable,
        "-c",
        "from target_iceberg.singer.main import main; main()",
        "--config",
        str(root / "config.json"),
    ]
    environment = {**os.environ, load_plan.PROJECT_ROOT_ENV: str(root)}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    subprocess.run(command, input=text, text=True, check=True, capture_output=True, env=environment, cwd=root)


def test_a_run_that_left_no_trace_in_the_lake_has_not_published(plan: LoadPlan) -> None:
    assert report_from_lake(plan, "r1", "t0", "t1") is None


def test_all_bookmarks_of_a_run_mean_published(plan: LoadPlan, tmp_path: Path) -> None:
    publish(plan, tmp_path, "orders", "payments")
    report = report_from_lake(plan, "r1", "t0", "t1")
    assert report is not None
    assert (report.outcome, report.exit_code) == ("published", 0)
    assert {s.stream: s.bookmark_after for s in report.streams} == {"orders": {"x": 1}, "payments": {"x": 1}}
    assert report_from_lake(plan, "another", "t0", "t1") is None


def test_some_bookmarks_of_a_run_mean_partial(plan: LoadPlan, tmp_path: Path) -> None:
    publish(plan, tmp_path, "orders")
    report = report_from_lake(plan, "r1", "t0", "t1")
    assert report is not None
    assert (report.outcome, report.exit_code) == ("partial", 1)
    assert report.failure is not None
    assert "payments" in report.failure.message
