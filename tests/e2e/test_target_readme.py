"""The Meltano project in the target's README does what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog

pytestmark = pytest.mark.smoke
README = Path(__file__).parents[2] / "target-iceberg/README.md"


def meltano(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "0"}
    command = [sys.executable, "-m", "meltano.cli", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False, timeout=240)


def test_the_meltano_project_of_the_readme_loads_a_table(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(version: 1\n.*?)```", README.read_text(), re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "meltano.yml").write_text(blocks[0])
    (tmp_path / "orders-1.csv").write_text("id,status\n1,new\n2,paid\n")
    for rows in (2, 3):
        done = meltano(tmp_path, "run", "tap-csv", "target-iceberg")
        assert done.returncode == 0, done.stderr
        catalog = SqlCatalog("dativo", uri=f"sqlite:///{tmp_path}/lake.db", warehouse=f"file://{tmp_path}/warehouse")
        found = catalog.load_table("shop.orders").scan().to_arrow().to_pylist()
        catalog.close()
        assert len(found) == rows
        assert all(r["_sdc_received_at"] is not None for r in found)
        (tmp_path / "orders-2.csv").write_text("id,status\n3,new\n")
