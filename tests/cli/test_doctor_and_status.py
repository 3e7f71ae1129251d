"""`dativo doctor` and `dativo status` say what is, and what to do."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from dativo.commands.status import age

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def findings(result: Any) -> dict[str, dict[str, Any]]:
    return {p["what"]: p for p in json.loads(result.out)}


def test_a_sound_project_has_no_problem(dativo: Any, demo: Path) -> None:
    result = dativo("doctor", "--format", "json")
    assert result.code == 0
    assert all(p["result"] != "problem" for p in findings(result).values())
    assert "2 jobs are valid" in findings(result)["configuration"]["detail"]


def test_a_mistake_in_a_job_is_a_problem_with_its_place(dativo: Any, demo: Path) -> None:
    job = demo / "jobs/demo/orders.yaml"
    job.write_text(job.read_text() + "sorce: {}\n")
    result = dativo("doctor")
    assert result.code == 1
    assert "jobs/demo/orders.yaml:" in result.out


def test_a_lake_catalog_that_does_not_answer_is_named(dativo: Any, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/api"
    job = demo / "jobs/demo/orders.yaml"
    job.write_text(job.read_text() + "target:\n  connection: {catalog: {type: rest, uri: '${LAKE_URI}'}}\n")
    monkeypatch.setenv("LAKE_URI", address)
    result = dativo("doctor", "--format", "json")
    assert result.code == 1
    assert "does not answer" in findings(result)[f"demo/orders {address}"]["detail"]


def test_a_database_that_does_not_answer_is_named(dativo: Any, demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.setenv(name, "x")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    (demo / "jobs/demo/orders.yaml").write_text(
        "source_connector: postgres\ntarget_connector: iceberg\nasset: orders\n"
        f"source:\n  connection: {{host: 127.0.0.1, port: {port}}}\n  tables: [{{name: public.orders, object: orders}}]\n"
        "  incremental: {strategy: full_refresh}\n"
    )
    result = dativo("doctor", "--format", "json")
    found = findings(result)
    assert "does not answer" in found[f"demo/orders postgresql://127.0.0.1:{port}"]["detail"], found


def test_a_missing_variable_is_a_problem_with_its_remedy(dativo: Any, demo: Path) -> None:
    job = demo / "jobs/demo/orders.yaml"
    job.write_text(job.read_text().replace("examples/orders", "${NOWHERE_TO_BE_FOUND}/orders"))
    result = dativo("doctor", "--format", "json")
    problem = findings(result)["demo/orders"]
    assert "NOWHERE_TO_BE_FOUND" in problem["detail"]
    assert "secrets/demo" in problem["remedy"]


def test_secrets_that_others_can_read_are_a_warning(dativo: Any, demo: Path) -> None:
    file = demo / "secrets/demo/key"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    file.chmod(0o644)
    result = dativo("doctor", "--format", "json")
    assert result.code == 0
    assert findings(result)[str(file)]["remedy"] == f"chmod 600 '{file}'"


def test_a_job_that_never_ran_says_so(dativo: Any, demo: Path) -> None:
    assert "never" in dativo("status").out
    rows = json.loads(dativo("status", "--format", "json").out)
    assert [r["job"] for r in rows] == ["demo/customers", "demo/orders"]
    assert rows[0]["result"] is None


def test_status_tells_the_last_run_and_since_when_the_data_is_fresh(dativo: Any, demo: Path) -> None:
    runs = demo / "state/demo/orders/runs"
    runs.mkdir(parents=True)
    stream = {"stream": "orders", "table": "shop.orders", "write_mode": "upsert", "published": 5}
    good = {"run_id": "1", "tenant": "demo", "job": "orders", "outcome": "published", "streams": [stream],
            "started_at": "2025-01-01T00:00:00Z", "ended_at": "2025-01-01T00:00:09Z"}  # fmt: skip
    bad = {**good, "run_id": "2", "outcome": "failed", "streams": [], "ended_at": "2025-01-02T00:00:09Z",
           "failure": {"failure_class": "source", "message": "401 from the API"}}  # fmt: skip
    (runs / "1.json").write_text(json.dumps(good))
    (runs / "2.json").write_text(json.dumps(bad))
    (runs / "3.json").write_text("half a rep")
    row = json.loads(dativo("status", "--job", "orders", "--format", "json").out)[0]
    assert (row["result"], row["fresh_as_of"]) == ("failed", "2025-01-01T00:00:09Z")
    assert "401 from the API" in dativo("status").out


def test_ages_are_told_in_their_largest_unit() -> None:
    import datetime as dt

    assert [age(dt.timedelta(seconds=s)) for s in (5, 65, 3700, 200_000)] == [
        "5 s ago",
        "1 min ago",
        "1 h ago",
        "2 d ago",
    ]


def test_an_unknown_tenant_is_answered_with_those_there_are(dativo: Any, demo: Path) -> None:
    result = dativo("status", "--tenant", "dmo")
    assert result.code == 2
    assert "did you mean" in result.err


def test_start_without_an_orchestrator_says_what_to_install(dativo: Any, demo: Path) -> None:
    result = dativo("start")
    assert result.code == 2
    assert "dativo[dagster]" in result.err
