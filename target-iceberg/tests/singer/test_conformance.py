"""Our target keeps what we ask of every target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from target_iceberg import load_plan
from target_iceberg.table.lake_catalog import open_catalog
from target_iceberg.testing.conformance import Loaded, TargetConformance

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class TestTargetIceberg(TargetConformance):
    """Through a SQL catalog, read back by PyIceberg's own scan."""

    def load(self, directory: Path, messages: bytes, settings: Mapping[str, Any]) -> Loaded:
        catalog = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        config = directory / "config.json"
        config.write_text(json.dumps({"catalog": catalog, **settings}))
        done = subprocess.run(
            [sys.executable, "-c", "from target_iceberg.singer.main import main; main()", "--config", str(config)],
            input=messages,
            capture_output=True,
            check=False,
            cwd=directory,
            env={**os.environ, load_plan.PROJECT_ROOT_ENV: str(directory)},
        )
        states = tuple(json.loads(line) for line in done.stdout.splitlines())
        return Loaded(done.returncode, states, done.stderr.decode())

    def rows(self, directory: Path, table: str) -> list[dict[str, Any]]:
        properties = {
            "type": "sql",
            "uri": f"sqlite:///{directory}/catalog.db",
            "warehouse": f"file://{directory}/warehouse",
        }
        catalog = open_catalog(load_plan.LakeCatalog(kind="pyiceberg", properties=properties))
        assert catalog is not None
        if not catalog.table_exists(f"default.{table}"):
            return []
        return catalog.load_table(f"default.{table}").scan().to_arrow().to_pylist()
