"""A contract is inferred before there is one: what a job says of its columns cannot be checked yet."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from dativo.commands.loading import load_source

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[2]


def test_a_job_with_a_cursor_can_be_read_without_its_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "jobs/acme", tmp_path / "jobs/acme")
    shutil.copytree(ROOT / "connectors", tmp_path / "connectors")
    monkeypatch.chdir(tmp_path)
    _, job = load_source("jobs/acme/postgres_orders_to_iceberg.yaml")
    assert job.source.objects[0].cursor_field is not None
