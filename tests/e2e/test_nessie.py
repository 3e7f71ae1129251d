"""`dativo run` into tables on a real Nessie and a real S3 server."""

from __future__ import annotations

import importlib.util
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

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
def nessie(project: Any, servers: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo's job, on a branch of its own of Nessie."""
    monkeypatch.setenv("NESSIE_URI", f"{servers.nessie}/api/v1")
    monkeypatch.setenv("S3_ENDPOINT", servers.s3)
    monkeypatch.setenv("S3_KEY", servers.access_key)
    monkeypatch.setenv("S3_SECRET", servers.secret_key)
    (project.root / "connectors/targets").mkdir(exist_ok=True)
    (project.root / "connectors/targets/lakehouse.yaml").write_text(RECIPE)
    job = project.root / "jobs/demo/orders.yaml"
    text = job.read_text().replace("target_connector: iceberg", "target_connector: lakehouse")
    job.write_text(text + f"target: {{branch: demo/{uuid.uuid4().hex[:12]}}}\n")
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


def test_a_run_with_nothing_new_asks_the_catalog_five_times(
    nessie: Any, servers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nessie.run()
    counting = _proxy(servers.nessie)
    monkeypatch.setenv("NESSIE_URI", f"{counting.address}/api/v1")
    assert nessie.run()["outcome"] == "unchanged"
    counting.close()
    asked = [r for r in counting.requests if "openapi" not in r]
    assert len(asked) <= 5, asked


def _proxy(upstream: str) -> Any:
    file = Path(__file__).parents[2] / "target-iceberg/tests/nessie/faulty.py"
    spec = importlib.util.spec_from_file_location("faulty_for_runs", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("faulty_for_runs", importlib.util.module_from_spec(spec))
    spec.loader.exec_module(module)
    return module.Faulty(upstream)


def test_branches_are_listed_compared_and_moved_back(nessie: Any) -> None:
    nessie.run()
    branch = yaml.safe_load((nessie.root / "jobs/demo/orders.yaml").read_text())["target"]["branch"]
    (commit, *_) = json.loads(nessie.dativo("branch", "log", branch, "--format", "json").stdout)
    assert commit["message"].startswith("demo/orders: 345 rows, run ")
    more = (nessie.root / "examples/orders/orders-2025-01.csv").read_text().splitlines()[0]
    (nessie.root / "examples/orders/more.csv").write_text(
        f"{more}\n999001,C0001,2025-03-01T00:00:00Z,paid,1,1.00,EUR,\n"
    )
    nessie.run()
    assert branch in nessie.dativo("branch", "list").stdout
    for at, rows in ((branch, 346), (f"{branch}@{commit['hash']}", 345)):
        table = nessie.dativo("table", "show", "demo/shop.orders", "--branch", at, "--format", "json").stdout
        assert json.loads(table)["records"] == rows
    (shown,) = json.loads(nessie.dativo("branch", "diff", branch, "--format", "json").stdout)
    assert (shown["table"], shown["rows_before"], shown["rows_after"]) == ("shop.orders", None, 346)
    said = nessie.dativo("branch", "rollback", branch, "--to", commit["hash"], "--yes").stdout
    assert "the bookmarks of demo/orders go back" in said
    assert nessie.run()["read"] == 1
    nessie.dativo("branch", "delete", branch, "--yes")
    assert "there is no branch" in nessie.dativo("branch", "log", branch, code=2).stderr


def test_a_run_on_another_branch_leaves_the_jobs_own_alone(nessie: Any) -> None:
    nessie.run()
    own = yaml.safe_load((nessie.root / "jobs/demo/orders.yaml").read_text())["target"]["branch"]
    header = (nessie.root / "examples/orders/orders-2025-01.csv").read_text().splitlines()[0]
    more = nessie.root / "examples/orders/more.csv"
    more.write_text(f"{header}\n999001,C0001,2025-03-01T00:00:00Z,paid,1,1.00,EUR,\n")
    trial = f"{own}-trial"
    done = nessie.run("orders", "--branch", trial)
    assert (done["outcome"], done["published"]) == ("published", 1)
    (shown,) = json.loads(nessie.dativo("branch", "diff", trial, "--base", own, "--format", "json").stdout)
    assert (shown["rows_before"], shown["rows_after"]) == (345, 346)
    nessie.dativo("branch", "merge", trial, "--into", own)
    assert nessie.run()["outcome"] == "unchanged"
    refused = nessie.dativo("run", "--config", "jobs/demo/orders.yaml", "--branch", "globex/x", code=2)
    assert "is no branch of tenant 'demo'" in refused.stderr
    refused = nessie.dativo("run", "--config", "jobs/demo/customers.yaml", "--branch", "demo/x", code=2)
    assert "needs a lake catalog with branches" in refused.stderr


def test_doctor_writes_reads_and_deletes_where_the_tables_lie(nessie: Any, servers: Any, monkeypatch: Any) -> None:
    nessie.run()

    def storage() -> dict[str, Any]:
        said = json.loads(nessie.dativo("doctor", "jobs/demo/orders.yaml", "--format", "json", code=None).stdout)
        (found,) = [p for p in said if p["what"] == "demo/orders storage"]
        return dict(found)

    assert storage()["detail"] == f"s3://{servers.bucket}/wh can be written, read and cleaned"
    monkeypatch.setenv("S3_SECRET", "wrong")
    assert storage()["result"] == "problem"
    assert "the object store refuses access" in storage()["detail"]


def test_a_server_that_loses_updates_of_others_is_told_by_doctor_and_by_the_run(nessie: Any) -> None:
    said = json.loads(nessie.dativo("doctor", "jobs/demo/orders.yaml", "--format", "json", code=None).stdout)
    (found,) = [p for p in said if p["what"] == "demo/orders Nessie"]
    assert found["result"] == "warning"
    assert "Nessie 0.99.0 is older than 0.101.1" in found["detail"]
    done = nessie.dativo("run", "--config", "jobs/demo/orders.yaml", "--log-format", "json")
    warnings = [e for e in map(json.loads, done.stderr.splitlines()) if e["event_type"] == "infrastructure"]
    assert ["loses the rows" in e["message"] for e in warnings] == [True]


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


def test_an_object_store_alone_gets_the_tables_and_an_embedded_catalog(nessie: Any, servers: Any) -> None:
    recipe = nessie.root / "connectors/targets/lakehouse.yaml"
    document = yaml.safe_load(RECIPE)
    del document["connection_template"]["nessie"]
    document["connection_template"]["s3"] |= {"bucket": servers.bucket, "prefix": uuid.uuid4().hex}
    recipe.write_text(yaml.safe_dump(document))
    done = nessie.dativo("run", "--config", "jobs/demo/orders.yaml", "--log-format", "json")
    assert done.stderr.count("no lake catalog is named: the embedded one in lake/demo is used") == 1
    assert (nessie.root / "lake/demo/catalog.db").exists()
    shown = json.loads(nessie.dativo("table", "show", "demo/shop.orders", "--format", "json").stdout)
    assert shown["records"] == 345
    assert shown["location"].startswith(f"s3://{servers.bucket}/")
    assert nessie.run()["outcome"] == "unchanged"
