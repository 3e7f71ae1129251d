"""Answers that are lost, cut or errors, at every request of a publish: nothing is lost or doubled, and messages say what to do."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from target_iceberg import lake

sys.path.insert(0, str(Path(__file__).parent))
from faulty import Faulty

if TYPE_CHECKING:
    from collections.abc import Iterator

MERGE = r"^POST \S*/history/merge"
COMMIT = r"^POST \S*/tables/"
NEW_BRANCH = r"^POST \S*/api/v2/trees\?"
READ = r"^GET "


def order(i: int) -> dict[str, Any]:
    return {"id": i, "status": "new", "amount": "1.50"}


@pytest.fixture
def proxied(job: Any) -> Iterator[tuple[Any, Faulty]]:
    """A job that reaches Nessie through a proxy."""
    proxy = Faulty(job.servers.nessie)
    yield job, proxy
    proxy.close()


def through(job: Any, proxy: Faulty) -> Any:
    job.properties = {**job.properties, "uri": proxy.address}
    return job.plan(job.stream("orders", write_mode="append", key=()), job.stream("returns"))


@pytest.mark.parametrize(
    ("wanted", "kind", "times"),
    [
        (MERGE, "lose_answer", 1),
        (MERGE, "lose_answer", 3),
        (MERGE, "lose_request", 2),
        (MERGE, "cut", 1),
        (MERGE, 503, 2),
        (MERGE, 500, 1),
        (COMMIT, "lose_answer", 1),
        (COMMIT, "lose_request", 1),
        (COMMIT, "cut", 1),
        (COMMIT, 503, 1),
        (COMMIT, 500, 1),
        (COMMIT, 429, 1),
        (READ, 503, 3),
        (READ, "lose_answer", 2),
    ],
)
def test_a_publish_survives(proxied: Any, wanted: str, kind: Any, times: int) -> None:
    job, proxy = proxied
    plan = through(job, proxy)
    assert job.run(plan, {"orders": [order(1)], "returns": [order(1)]}, 1).code == 0
    start = lake.preflight(plan).state
    fault = proxy.fault(wanted, kind, times)
    done = job.run(plan, {"orders": [order(2)], "returns": [order(2)]}, 2, start=start)
    assert fault.hits == times
    assert done.code == 0, done.err
    assert sorted(job.rows("orders")) == sorted(job.rows("returns")) == [1, 2]
    assert [m for m in job.history() if m.startswith("acme/load: 2 rows")] != []


@pytest.mark.parametrize(
    ("wanted", "kind"), [(NEW_BRANCH, 500), (NEW_BRANCH, "lose_answer"), (MERGE, 400), (COMMIT, 400)]
)
def test_a_publish_that_cannot_be_ends_with_all_or_nothing_and_a_rerun_makes_it_whole(
    proxied: Any, wanted: str, kind: Any
) -> None:
    job, proxy = proxied
    plan = through(job, proxy)
    assert job.run(plan, {"orders": [order(1)], "returns": [order(1)]}, 1).code == 0
    start = lake.preflight(plan).state
    proxy.fault(wanted, kind, 10_000)
    records = {"orders": [order(2)], "returns": [order(2)]}
    done = job.run(plan, records, 2, start=start, DATIVO_PUBLISH_DEADLINE_S="5")
    assert done.code == 2, done.err
    assert "Traceback" not in done.err
    proxy.faults.clear()
    assert sorted(job.rows("orders")) == sorted(job.rows("returns")) == [1]
    done = job.run(plan, {"orders": [order(2)], "returns": [order(2)]}, 2)
    assert done.code == 0, done.err
    assert sorted(job.rows("orders")) == sorted(job.rows("returns")) == [1, 2]


def test_a_server_that_is_not_there_is_named_with_its_address(job: Any) -> None:
    job.properties = {**job.properties, "uri": "http://127.0.0.1:9"}
    plan = job.plan(job.stream("orders"))
    done = job.run(plan, {"orders": [order(1)]}, 1, start={})
    assert done.code == 2
    assert "127.0.0.1" in done.err
    assert '"retryable": true' in done.err


def test_a_branch_that_is_deleted_meanwhile_is_no_place_to_publish(proxied: Any) -> None:
    job, proxy = proxied
    plan = through(job, proxy)
    assert job.run(plan, {"orders": [order(1)], "returns": []}, 1).code == 0
    start = lake.preflight(plan).state
    catalog = job.catalog()
    catalog.delete_branch(catalog.reference(job.branch))
    done = job.run(plan, {"orders": [order(2)], "returns": []}, 2, start=start)
    assert done.code == 2
    assert "overtaken" in done.err


def test_three_tables_are_published_with_twelve_requests_and_nothing_new_takes_five(proxied: Any) -> None:
    job, proxy = proxied
    job.properties = {**job.properties, "uri": proxy.address}
    names = ("orders", "returns", "refunds")
    plan = job.plan(*(job.stream(name) for name in names))
    assert job.run(plan, {name: [order(1)] for name in names}, 1).code == 0
    start = lake.preflight(plan).state
    proxy.requests.clear()
    assert job.run(plan, {name: [order(2)] for name in names}, 2, start=start).code == 0
    assert len(proxy.requests) <= 12, proxy.requests
    assert [sorted(job.rows(name)) for name in names] == [[1, 2]] * 3
    start = lake.preflight(plan).state
    proxy.requests.clear()
    assert job.run(plan, {name: [] for name in names}, 2, start=start).code == 0
    assert len(proxy.requests) <= 5, proxy.requests


def test_a_table_that_changed_before_the_publish_is_looked_at_again(job: Any) -> None:
    plan = job.plan(job.stream("orders"), job.stream("returns"))
    assert job.run(plan, {"orders": [order(1)], "returns": [order(1)]}, 1).code == 0
    start = lake.preflight(plan).state

    def elsewhere() -> None:
        own, job.name = job.name, "other"
        assert job.run(job.plan(job.stream("orders")), {"orders": [order(7)]}, 1, start={}).code == 0
        job.name = own

    done = job.finish(
        job.start(plan, {"orders": [order(2)], "returns": [order(2)]}, 2, start=start, meanwhile=elsewhere)
    )
    assert done.code == 0, done.err
    assert sorted(job.rows("orders")) == [1, 2, 7]
    assert sorted(job.rows("returns")) == [1, 2]
