"""Publishing on a real Nessie: one visible step per run, whatever else happens on the branch."""

from __future__ import annotations

from typing import Any

from target_iceberg import lake
from target_iceberg.load_plan import Column


def order(i: int, status: str = "new") -> dict[str, Any]:
    return {"id": i, "status": status, "amount": "1.50"}


def test_a_run_is_one_commit_with_its_new_tables_and_their_rejects(job: Any) -> None:
    plan = job.plan(job.stream("orders"), job.stream("returns"))
    done = job.run(plan, {"orders": [order(1), order(2), order(9, "odd")], "returns": [order(7)]}, 1)
    assert done.code == 0, done.err
    assert (job.rows("orders"), job.rows("returns")) == ({1: "new", 2: "new"}, {7: "new"})
    first = job.history()
    assert first[0].startswith("acme/load: 3 rows, run ns")
    second = job.run(plan, {"orders": [order(2, "paid"), order(3)], "returns": []}, 2)
    assert second.code == 0, second.err
    assert job.rows("orders") == {1: "new", 2: "paid", 3: "new"}
    assert len(job.history()) == len(first) + 1
    assert [b.name for b in job.catalog().branches(f"dativo_run_{job.namespace}")] == []
    assert lake.state_of(plan) == {"bookmarks": {"orders": {"at": 2}, "returns": {"at": 2}}}
    rejects = job.catalog().load_table((job.namespace, "orders__rejects")).scan().to_arrow().to_pylist()
    assert [r["rule"] for r in rejects] == ["orders.status.enum"]


def test_a_schema_evolves_in_the_same_commit(job: Any) -> None:
    job.run(job.plan(job.stream("orders")), {"orders": [order(1)]}, 1)
    before = len(job.history())
    stream = job.stream("orders", evolution="merge")
    wider = job.stream("orders", evolution="merge", columns=(*stream.columns, Column(name="note", type="string")))
    done = job.run(job.plan(wider), {"orders": [{**order(2), "note": "x"}]}, 2)
    assert done.code == 0, done.err
    assert job.rows("orders") == {1: "new", 2: "new"}
    assert len(job.history()) == before + 1


def test_two_runs_of_one_job_publish_once(job: Any) -> None:
    plan = job.plan(job.stream("orders", write_mode="append", key=()))
    job.run(plan, {"orders": [order(1)]}, 1)
    start = lake.preflight(plan).state
    both = [job.start(plan, {"orders": [order(2)]}, 2, start=start) for _ in range(2)]
    done = [job.finish(p) for p in both]
    assert sorted(d.code for d in done) == [0, 2], [d.err for d in done]
    assert any("overtaken" in d.err for d in done)
    assert job.rows("orders") == {1: "new", 2: "new"}


def test_jobs_that_feed_one_table_all_finish_also_when_it_does_not_exist_yet(job: Any, tmp_path: Any) -> None:
    jobs = [type(job)(tmp_path / f"j{i}", job.servers, job.branch, job.namespace, f"feed{i}") for i in range(3)]
    for turn in range(2):
        started = []
        for i, one in enumerate(jobs):
            plan = one.plan(one.stream("orders", adopt=True, write_mode="append", key=()))
            started.append((one, one.start(plan, {"orders": [order(turn * 100 + i)]}, turn)))
        for one, process in started:
            done = one.finish(process)
            assert done.code == 0, done.err
    assert sorted(job.rows("orders")) == [0, 1, 2, 100, 101, 102]


def test_a_run_killed_before_and_after_the_merge_is_whole_afterwards(job: Any) -> None:
    plan = job.plan(job.stream("orders", write_mode="append", key=()), job.stream("returns"))
    for n, stage in enumerate(("before_merge", "after_merge", "after_commit:2", "before_state"), 1):
        records = {"orders": [order(n)], "returns": [order(n)]}
        killed = job.run(plan, records, n, DATIVO_TEST_CRASH_AT=stage)
        assert killed.code == -9, killed.err
        seen = lake.state_of(plan).get("bookmarks", {}).get("orders")
        landed = seen == {"at": n}
        assert landed == (stage in ("after_merge", "before_state"))
        if not landed:
            done = job.run(plan, records, n)
            assert done.code == 0, done.err
        assert sorted(job.rows("orders")) == sorted(job.rows("returns")) == list(range(1, n + 1))


def test_a_strict_run_publishes_its_rejects_and_no_rows(job: Any) -> None:
    plan = job.plan(job.stream("orders"), violations="strict")
    done = job.run(plan, {"orders": [order(1), order(2, "odd")]}, 1)
    assert done.code == 2
    assert job.catalog().load_table((job.namespace, "orders__rejects")).scan().to_arrow().num_rows == 1
    assert not job.catalog().table_exists((job.namespace, "orders"))
