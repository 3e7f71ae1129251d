"""`dativo run` into tables on a real Nessie and a real S3 server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.smoke
RECIPE = """\
name: lakehouse
type: iceberg
connection_template:
  nessie: {uri: "${NESSIE_URI}"}
  s3:
    endpoint: "${S3_ENDPOINT}"
    region: us-east-1
    access_key_id: "${S3_KEY}"
    secret_access_key: "${S3_SECRET}"
"""


@pytest.fixture
def nessie(project: Any, servers: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The demo's job, on a branch of its own of Nessie."""
    monkeypatch.setenv("NESSIE_URI", f"{servers.nessie}/api/v1")
    monkeypatch.setenv("S3_ENDPOINT", servers.s3)
    monkeypatch.setenv("S3_KEY", servers.access_key)
    monkeypatch.setenv("S3_SECRET", servers.secret_key)
    (project.root / "connectors/targets").mkdir(exist_ok=True)
    (project.root / "connectors/targets/lakehouse.yaml").write_text(RECIPE)
    job = project.root / "jobs/demo/orders.yaml"
    text = job.read_text().replace("target_connector: iceberg", "target_connector: lakehouse")
    job.write_text(text + f"target: {{branch: {tmp_path.name[-20:].replace('_', '-').strip('-')}}}\n")
    return project


def test_rows_land_on_the_jobs_branch_and_the_second_run_finds_nothing_new(nessie: Any, servers: Any) -> None:
    first = nessie.run()
    assert (first["outcome"], first["published"]) == ("published", 345)
    again = nessie.run()
    assert (again["outcome"], again["read"]) == ("unchanged", 0)
    shown = json.loads(nessie.dativo("table", "show", "demo/shop.orders", "--format", "json").stdout)
    assert shown["records"] == 345
    assert servers.secret_key not in json.dumps(first) + json.dumps(shown)
    assert not (nessie.root / "lake").exists()


def test_wrong_keys_and_a_server_that_is_not_there_say_what_and_where(
    nessie: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("S3_SECRET", "wrong")
    last = nessie.run(code=2)
    assert last["outcome"] == "failed"
    assert "the object store refuses access" in last["message"]
    assert not last["retryable"]
    assert "wrong" not in last["message"]
    monkeypatch.setenv("NESSIE_URI", "http://127.0.0.1:9")
    last = nessie.run(code=2)
    assert "127.0.0.1" in last["message"]
    assert last["retryable"]
