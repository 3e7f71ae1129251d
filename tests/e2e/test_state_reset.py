"""`dativo state`: what is shown and forgotten is the bookmark in the lake, and what people see follows."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytestmark = pytest.mark.smoke


def test_after_a_reset_nothing_says_where_the_job_stood(project: Any) -> None:
    project.run()
    assert "1 publishes" in project.dativo("state", "show", "demo/orders").stdout
    project.dativo("state", "reset", "demo/orders", "--yes")
    assert "null" in project.dativo("state", "show", "demo/orders").stdout
    (status,) = json.loads(project.dativo("status", "--job", "orders", "--format", "json").stdout)
    assert status["bookmark"] is None
    assert project.run()["published"] > 0  # all is read again, by key, so nothing doubles
    assert len(project.table("shop.orders")["rows"]) == 345


def test_a_new_project_runs_with_plain_meltano_too(project: Any, tmp_path: Any) -> None:
    import subprocess
    import sys
    from pathlib import Path

    new = type(project)(tmp_path / "new")
    new.root.mkdir()
    new.dativo("init")
    new.dativo("compile", "jobs/")
    meltano = Path(sys.executable).parent / "meltano"
    for arguments in (["run", "tap-csv", "target-iceberg"], ["run", "example-orders"], ["state", "list"]):
        done = subprocess.run(
            [meltano, *arguments], cwd=new.root, env=new.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    shown = json.loads(new.dativo("table", "show", "example/sales.orders", "--format", "json").stdout)
    assert len(shown["rows"]) == 3
