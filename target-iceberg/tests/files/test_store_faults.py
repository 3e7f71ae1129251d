"""A store that loses answers, fails or slows down while a folder is published: all rows once, whatever its answers were."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_iceberg import lake

sys.path.insert(0, str(Path(__file__).parents[1] / "nessie"))
from faulty import Faulty

if TYPE_CHECKING:
    from collections.abc import Iterator

MANIFEST, POINTER, DATA, READ = r"^PUT \S*/_manifests/", r"^PUT \S*/_latest", r"^(PUT|POST) \S*\.parquet", r"^GET "


@pytest.fixture
def proxied(make_folder: Any, servers: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Faulty]]:
    """A folder on S3Proxy, behind a proxy that breaks."""
    monkeypatch.setenv("DATIVO_STORE_TIMEOUT_S", "3")
    proxy = Faulty(servers.s3)
    properties = {
        "s3.endpoint": proxy.address,
        "s3.region": "us-east-1",
        "s3.access-key-id": servers.access_key,
        "s3.secret-access-key": servers.secret_key,
    }
    yield make_folder(f"s3://{servers.bucket}", properties), proxy
    proxy.close()


@pytest.mark.parametrize(
    ("wanted", "kind", "times"),
    [
        (MANIFEST, "lose_answer", 1),
        (MANIFEST, "lose_request", 1),
        (MANIFEST, "cut", 1),
        (MANIFEST, 503, 3),
        (MANIFEST, "slow_down", 3),
        (POINTER, "lose_answer", 1),
        (POINTER, 500, 1),
        (DATA, "lose_answer", 1),
        (DATA, "slow_down", 2),
        (READ, 503, 3),
        (READ, "cut", 1),
    ],
)
def test_a_publish_survives(proxied: Any, wanted: str, kind: Any, times: int) -> None:
    folder, proxy = proxied
    plan = folder.plan(folder.stream(write_mode="append", at_least_once=True, key=()))
    assert folder.run(plan, [{"id": 1, "status": "new"}], at=1).code == 0
    start = lake.preflight(plan).state
    fault = proxy.fault(wanted, kind, times)
    done = folder.run(plan, [{"id": 2, "status": "new"}], at=2, start=start)
    assert fault.hits == times
    assert done.code == 0, done.err
    assert (folder.manifest().n, folder.manifest().rows) == (2, 2)
    assert folder.rows() == {1: "new", 2: "new"}


def test_a_pointer_that_cannot_be_written_does_not_matter(proxied: Any) -> None:
    folder, proxy = proxied
    plan = folder.plan()
    proxy.fault(POINTER, 403, 100)
    for at in (1, 2):
        assert folder.run(plan, [{"id": at, "status": "new"}], at=at).code == 0
    assert folder.catalog.store.read("orders/_latest") is None
    assert folder.rows() == {1: "new", 2: "new"}


def test_a_manifest_that_may_not_be_written_is_told_with_its_place(proxied: Any) -> None:
    folder, proxy = proxied
    plan = folder.plan()
    assert folder.run(plan, [{"id": 1, "status": "new"}], at=1).code == 0
    start = lake.preflight(plan).state
    proxy.fault(MANIFEST, 403, 1_000)
    done = folder.run(plan, [{"id": 2, "status": "new"}], at=2, start=start)
    assert done.code == 2
    assert "the object store refuses access" in done.err
    assert "_manifests/000000000002.json" in done.err
    assert '"retryable": false' in done.err
    proxy.faults.clear()
    assert folder.rows() == {1: "new"}
    assert folder.run(plan, [{"id": 2, "status": "new"}], at=2).code == 0
    assert folder.rows() == {1: "new", 2: "new"}
