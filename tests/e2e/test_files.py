"""`dativo run` into folders of a real S3 server and a real Azure emulator, with the recipes that come with Dativo."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from typing import Any

import pytest

pytestmark = pytest.mark.smoke


@pytest.fixture
def minio(project: Any, servers: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo's job, into a bucket, below a prefix of its own."""
    monkeypatch.setenv("MINIO_ENDPOINT", servers.s3)
    monkeypatch.setenv("MINIO_ACCESS_KEY", servers.access_key)
    monkeypatch.setenv("MINIO_SECRET_KEY", servers.secret_key)
    job = project.root / "jobs/demo/orders.yaml"
    project.prefix = uuid.uuid4().hex
    place = f"target: {{connection: {{bucket: {servers.bucket}, prefix: {project.prefix}}}}}\n"
    job.write_text(job.read_text().replace("target_connector: iceberg", "target_connector: minio") + place)
    return project


def test_the_demos_rows_are_files_by_day_that_any_reader_can_list(minio: Any, servers: Any, duckdb_with: Any) -> None:
    first = minio.run()
    assert (first["outcome"], first["published"]) == ("published", 345)
    again = minio.run()
    assert (again["outcome"], again["read"]) == ("unchanged", 0)
    shown = json.loads(minio.dativo("table", "show", "demo/shop.orders", "--format", "json").stdout)
    place = f"s3://{servers.bucket}/{minio.prefix}/demo/orders"
    assert (shown["records"], shown["location"]) == (345, place)
    db = duckdb_with("httpfs")
    host = servers.s3.removeprefix("http://")
    db.execute(
        f"CREATE SECRET (TYPE s3, KEY_ID '{servers.access_key}', SECRET '{servers.secret_key}', ENDPOINT '{host}', "
        "URL_STYLE 'path', USE_SSL false)"
    )
    (latest,) = db.execute(f"SELECT manifest FROM read_json('{place}/_latest')").fetchall()
    objects = db.execute(
        f"SELECT o.path FROM (SELECT unnest(objects) AS o FROM read_json('{place}/{latest[0]}'))"
    ).fetchall()
    paths = [f"{place}/{path}" for (path,) in objects]
    assert all(f"/ingest_date={dt.datetime.now(tz=dt.timezone.utc):%Y-%m-%d}/" in p for p in paths)
    assert db.execute("SELECT count(*), count(DISTINCT order_id) FROM read_parquet($1)", [paths]).fetchall() == [
        (345, 345)
    ]
    assert servers.secret_key not in json.dumps(first) + json.dumps(shown)


def test_status_verify_and_clean_know_folders(minio: Any) -> None:
    minio.run()
    assert "345" in minio.dativo("table", "list").stdout
    assert minio.dativo("table", "verify", "demo/shop.orders").returncode == 0
    said = minio.dativo("clean", "jobs/demo/orders.yaml", "--older-than-hours", "0").stdout
    assert "orders" not in said
    assert minio.dativo("table", "verify", "demo/shop.orders").returncode == 0
    assert "shop.orders" in minio.dativo("status", "--files").stdout


def test_a_prefix_that_variables_turn_into_another_tenants_is_refused(
    minio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = minio.root / "jobs/demo/orders.yaml"
    job.write_text(job.read_text().replace(minio.prefix, '"${PLACE}"'))
    (minio.root / "jobs/globex").mkdir()
    for place in ("globex", "in/../globex", "%2e%2e/globex", "a\\b"):
        monkeypatch.setenv("PLACE", place)
        refused = minio.dativo("run", "--config", "jobs/demo/orders.yaml", code=2)
        assert "the place of the files is not this tenant's" in refused.stderr, place


def test_azure_takes_the_same_job_by_its_connection_string(
    project: Any, azurite: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", azurite.properties["adls.connection-string"])
    job = project.root / "jobs/demo/orders.yaml"
    place = f"target: {{connection: {{azure: {{container: lake, prefix: {uuid.uuid4().hex}}}}}}}\n"
    job.write_text(job.read_text().replace("target_connector: iceberg", "target_connector: azure_blob") + place)
    done = project.run()
    assert (done["outcome"], done["published"]) == ("published", 345)
    assert project.run()["outcome"] == "unchanged"
    shown = json.loads(project.dativo("table", "show", "demo/shop.orders", "--format", "json").stdout)
    assert shown["records"] == 345
