"""Publishing on a real Nessie: one visible step per run, whatever else happens on the branch."""

from __future__ import annotations

import os
import secrets
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from target_iceberg import lake
from target_iceberg.branches import Branches, TableDiff
from target_iceberg.errors import TargetError
from target_iceberg.load_plan import Column
from target_iceberg.run_report import new_run_id
from target_iceberg.table.one_step import PREFIX
from target_iceberg.table.stage import Lakehouse, open_stage

TURNS = int(os.environ.get("TURNS", "3"))
"""Publishes of each job in a race; `make crash` has 25."""
COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="status", type="string"),
    Column(name="amount", type="decimal(10,2)"),
)


def order(i: int, status: str = "new") -> dict[str, Any]:
    return {"id": i, "status": status, "amount": "1.50"}


def test_a_run_is_one_commit_with_its_new_tables_and_their_rejects(job: Any) -> None:
    plan = job.plan(job.stream("orders"), job.stream("returns"))
    done = job.run(plan, {"orders": [order(1), order(2), order(9, "odd")], "returns": [order(7)]}, 1)
    assert done.code == 0, done.err
    assert (job.rows("orders"), job.rows("returns")) == ({1: "new", 2: "new"}, {7: "new"})
    first = job.history()
    assert first[0].startswith("acme/load: 3 rows, run ")
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


def test_jobs_that_race_into_a_table_that_does_not_exist_yet_all_finish(job: Any, tmp_path: Any) -> None:
    jobs = [type(job)(tmp_path / f"j{i}", job.servers, job.branch, job.namespace, f"feed{i}") for i in range(4)]

    def feed(i: int) -> list[str]:
        plan = jobs[i].plan(jobs[i].stream("orders", adopt=True, write_mode="append", key=()))
        done = [jobs[i].run(plan, {"orders": [order(1000 * i + turn)]}, turn) for turn in range(TURNS)]
        return [d.err for d in done if d.code]

    with ThreadPoolExecutor(len(jobs)) as pool:
        assert list(pool.map(feed, range(len(jobs)))) == [[]] * len(jobs)
    assert sorted(job.rows("orders")) == [1000 * i + turn for i in range(len(jobs)) for turn in range(TURNS)]


def test_a_table_that_another_run_makes_while_this_one_opens_it_is_opened(job: Any, monkeypatch: Any) -> None:
    stream = job.stream("orders")
    assert job.run(job.plan(stream), {"orders": [order(1)]}, 1).code == 0
    load = Lakehouse.load
    looks = iter([False])  # the first one came before the table

    def look(lakehouse: Lakehouse, plan: Any) -> Any:
        return load(lakehouse, plan) if next(looks, True) else None

    monkeypatch.setattr(Lakehouse, "load", look)
    stage = open_stage(Lakehouse(job.catalog(), job.plan(stream).catalog, "acme", "load"), stream)
    assert stage.table_existed
    assert stage.start is not None


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


def test_a_rollback_takes_bookmarks_back_and_a_racing_run_does_not_undo_it(job: Any) -> None:
    plan = job.plan(job.stream("orders"))
    job.run(plan, {"orders": [order(1)]}, 1)
    first = job.catalog().reference(job.branch).hash
    job.run(plan, {"orders": [order(2)]}, 2)
    start = lake.preflight(plan).state
    branches = Branches(plan.catalog)
    undone = branches.rollback(job.branch, first[:16])
    assert (undone.commits, undone.jobs, undone.others) == (1, ["acme/load"], [])
    assert job.rows("orders") == {1: "new"}
    assert lake.state_of(plan) == {"bookmarks": {"orders": {"at": 1}}}
    raced = job.run(plan, {"orders": [order(3)]}, 3, start=start)
    assert raced.code == 2
    assert "overtaken" in raced.err
    assert job.rows("orders") == {1: "new"}
    assert job.run(plan, {"orders": [order(2), order(3)]}, 3).code == 0
    assert job.rows("orders") == {1: "new", 2: "new", 3: "new"}


def test_commits_of_others_are_undone_only_by_force(job: Any, tmp_path: Any) -> None:
    plan = job.plan(job.stream("orders"))
    job.run(plan, {"orders": [order(1)]}, 1)
    first = job.catalog().reference(job.branch).hash
    job.run(plan, {"orders": [order(2)]}, 2)
    other = type(job)(tmp_path / "other", job.servers, job.branch, job.namespace, "other")
    other.run(other.plan(other.stream("returns")), {"returns": [order(1)]}, 1)
    branches = Branches(plan.catalog)
    with pytest.raises(TargetError, match="acme/load, acme/other; --force"):
        branches.rollback(job.branch, first)
    assert branches.rollback(job.branch, first, force=True).jobs == ["acme/load", "acme/other"]
    with pytest.raises(TargetError, match="has no commit 123456"):
        branches.rollback(job.branch, "123456")


def test_a_branch_is_compared_merged_and_deleted(job: Any, tmp_path: Any) -> None:
    plan = job.plan(job.stream("orders"))
    job.run(plan, {"orders": [order(1)]}, 1)
    work = type(job)(tmp_path / "w", job.servers, f"{job.branch}-work", job.namespace, "work")
    work.catalog(job.branch).create_branch(work.branch, work.catalog(job.branch).reference(job.branch))
    wider = work.stream("orders", evolution="merge", adopt=True, columns=(*COLUMNS, Column(name="note", type="string")))
    assert work.run(work.plan(wider), {"orders": [order(2)]}, 1).code == 0
    branches = Branches(plan.catalog)
    assert branches.diff(work.branch, job.branch) == [TableDiff(f"{job.namespace}.orders", 1, 2, ["+ note string"])]
    branches.merge(work.branch, job.branch, "me")
    assert job.rows("orders") == {1: "new", 2: "new"}
    assert branches.diff(work.branch, job.branch) == []
    job.run(job.plan(wider), {"orders": [order(3)]}, 2)
    work.run(work.plan(wider), {"orders": [order(4)]}, 2)
    with pytest.raises(TargetError, match=f"{job.namespace}.orders"):
        branches.merge(work.branch, job.branch, "me")
    branches.delete(work.branch)
    assert work.branch not in {b["branch"] for b in branches.listed()}
    with pytest.raises(TargetError, match="there is no branch"):
        branches.delete(work.branch)
    with pytest.raises(TargetError, match="default branch"):
        branches.delete("main")


def test_branches_of_killed_runs_are_found_by_their_age(job: Any) -> None:
    catalog = job.catalog()
    source = catalog.ensure_branch(job.branch)
    old = PREFIX + str(uuid.UUID(int=(1_700_000_000_000 << 80) | 7 << 76 | 2 << 62 | secrets.randbits(60)))
    names = [old, PREFIX + new_run_id(), PREFIX + job.namespace]
    for name in names:
        catalog.create_branch(name, source)
    plan = job.plan(job.stream("orders"))
    (found,) = lake.clean(plan, older_than_s=0, delete=True)
    assert f"branch {old} of {catalog.server}" in found.paths
    left = {b.name for b in catalog.branches(PREFIX)}
    assert left & set(names) == set(names[1:])


def test_a_strict_run_publishes_its_rejects_and_no_rows(job: Any) -> None:
    plan = job.plan(job.stream("orders"), violations="strict")
    done = job.run(plan, {"orders": [order(1), order(2, "odd")]}, 1)
    assert done.code == 2
    assert job.catalog().load_table((job.namespace, "orders__rejects")).scan().to_arrow().num_rows == 1
    assert not job.catalog().table_exists((job.namespace, "orders"))


def test_a_branch_that_may_not_be_made_is_asked_for(job: Any) -> None:
    plan = job.plan(job.stream("orders"))
    strict = msgspec.structs.replace(plan, catalog=msgspec.structs.replace(plan.catalog, create_branch=False))
    done = job.run(strict, {"orders": [order(1)]}, 1, start={})
    assert done.code == 2
    assert f"there is no branch {job.branch}" in done.err
    assert job.run(plan, {"orders": [order(1)]}, 1).code == 0
    assert job.run(strict, {"orders": [order(2)]}, 2).code == 0
