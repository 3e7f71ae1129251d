"""The target run against folders in stores: a directory, S3Proxy, moto, Azurite."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.fs as pafs
import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from target_iceberg import lake, load_plan, run_report
from target_iceberg.load_plan import Column, LakeCatalog, LoadPlan, Rejects, Rule, StreamPlan
from target_iceberg.table.file_io import LakeFileIO
from target_iceberg.table.files_catalog import FilesCatalog, FilesManifest
from target_iceberg.table.lake_catalog import open_catalog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string"),
    Column(name="amount", type="decimal(10,2)"),
    Column(name="ingest_date", type="date"),
)


@dataclass
class Done:
    """What a run left."""

    code: int
    out: str
    err: str
    report: Any


class Folder:
    """A place for tables, and the target run on it."""

    def __init__(self, home: Path, root: str, properties: dict[str, str]) -> None:
        self.home, self.root = home, f"{root}/{uuid.uuid4().hex[:10]}/acme"
        self.settings = LakeCatalog(kind="files", name="files", properties={**properties, "warehouse": self.root})

    def stream(self, name: str = "orders", **changes: Any) -> StreamPlan:
        """Upsert by id, by day of the run, unless said otherwise."""
        plan = StreamPlan(
            stream=name,
            namespace=("shop",),
            table=name,
            columns=COLUMNS,
            key=("id",),
            write_mode="upsert",
            rules=(
                Rule(name=f"{name}.status.enum", kind="enum", columns=("status",), argument=["new", "paid", "old"]),
            ),
            partition_by=("ingest_date",),
            ingest_date=True,
            fingerprint="f",
        )
        return msgspec.structs.replace(plan, **changes)

    def plan(self, *streams: StreamPlan, job: str = "load", violations: Any = "warn") -> LoadPlan:
        return LoadPlan(
            tenant="acme",
            job=job,
            state_id=f"dev:tap-to-target:{job}",
            tap="tap-x",
            catalog=self.settings,
            streams=streams or (self.stream(),),
            rejects=Rejects(violations=violations),
            state_dir=f"state/acme/{job}",
        )

    def start(self, plan: LoadPlan, rows: list[dict[str, Any]], at: int, start: Any = None, **env: str) -> Any:
        """The target on records of its first stream; the process, with its input written."""
        run_id = f"run-{uuid.uuid4().hex[:8]}"
        directory = self.home / run_id
        directory.mkdir(parents=True)
        (directory / "plan.json").write_bytes(load_plan.dump(plan))
        (directory / "config.json").write_text('{"load_plan": "plan.json"}')
        name = plan.streams[0].stream
        state = lake.preflight(plan).state if start is None else start
        messages: list[dict[str, Any]] = [
            {"type": "DATIVO_START", "run": run_id, "state": state},
            {"type": "SCHEMA", "stream": name, "schema": {"properties": {}}, "key_properties": ["id"]},
            *({"type": "RECORD", "stream": name, "record": r} for r in rows),
            {"type": "STATE", "value": {"bookmarks": {name: {"at": at}}}},
            {"type": "DATIVO_END"},
        ]
        (directory / "input.jsonl").write_text("".join(json.dumps(m) + "\n" for m in messages))
        program = "from target_iceberg.singer.main import main_of_files; main_of_files()"
        with (directory / "input.jsonl").open() as source:
            return subprocess.Popen(
                [sys.executable, "-c", program, "--config", "config.json"],
                cwd=directory,
                env={**os.environ, load_plan.PROJECT_ROOT_ENV: str(directory), "DATIVO_LOG_FORMAT": "json", **env},
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )

    def finish(self, process: Any) -> Done:
        out, err = process.communicate(timeout=200)
        reports = sorted(self.home.glob("*/state/acme/*/runs/*.json"), key=lambda f: f.stat().st_mtime_ns)
        return Done(process.returncode, out, err, run_report.read(reports[-1]) if reports else None)

    def run(self, plan: LoadPlan, rows: list[dict[str, Any]], at: int, **more: Any) -> Done:
        return self.finish(self.start(plan, rows, at, **more))

    @property
    def catalog(self) -> FilesCatalog:
        found = open_catalog(self.settings)
        assert isinstance(found, FilesCatalog)
        return found

    def manifest(self, table: str = "orders") -> FilesManifest:
        found = self.catalog.manifest(table)
        assert found is not None
        return found

    def read(self, path: str, table: str = "orders") -> bytes:
        """One object of a table."""
        data = self.catalog.store.read(f"{table}/{path}")
        assert data is not None
        return data

    def rows(self, table: str = "orders") -> dict[int, str]:
        """As Iceberg metadata say."""
        found = self.catalog.load_table(("shop", table)).scan().to_arrow().to_pylist()
        assert len({r["id"] for r in found}) == len(found)
        return {r["id"]: r["status"] for r in found}

    def paths(self, table: str = "orders") -> set[str]:
        """Everything below the table's folder."""
        io = LakeFileIO(self.catalog.properties)
        scheme, netloc, path = PyArrowFileIO.parse_location(f"{self.root}/{table}")
        found = io.fs_by_scheme(scheme, netloc).get_file_info(pafs.FileSelector(path, recursive=True))
        return {f.path.removeprefix(f"{path}/") for f in found if f.type == pafs.FileType.File}


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[[str, dict[str, str]], Folder]:
    """Below any root."""
    return lambda root, properties: Folder(tmp_path / "runs", root, properties)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """In a directory of this machine."""
    return Folder(tmp_path / "runs", f"file://{tmp_path}/store", {})


@pytest.fixture(params=["directory", "s3proxy", "moto", "azurite"])
def each_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """In each kind of store."""
    if request.param == "directory":
        return Folder(tmp_path / "runs", f"file://{tmp_path}/store", {})
    if request.param == "s3proxy":
        servers = request.getfixturevalue("servers")
        properties = {
            "s3.endpoint": servers.s3,
            "s3.region": "us-east-1",
            "s3.access-key-id": servers.access_key,
            "s3.secret-access-key": servers.secret_key,
        }
        return Folder(tmp_path / "runs", f"s3://{servers.bucket}", properties)
    store = request.getfixturevalue(request.param)
    return Folder(tmp_path / "runs", store.root, store.properties)
