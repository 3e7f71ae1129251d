"""Protocol, sections 2, 4 and 5: bookmarks move by compare-and-set, each publish is one snapshot, none happens twice."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from requests.exceptions import ConnectionError as RequestsConnectionError

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.load_plan import Column
from target_iceberg.table import publisher
from target_iceberg.table.reset import reset_bookmark
from target_iceberg.table.stage import open_stage


def test_a_table_appears_only_with_its_first_publish(bench: Any) -> None:
    staged = bench.stage(bench.plan(), bench.rows([1, 2]))
    assert bench.lake.load(bench.plan()) is None
    bench.publish(staged)
    assert bench.ids() == [1, 2]
    assert bench.snapshots() == 1


def test_the_last_row_of_a_key_wins_within_a_run(bench: Any) -> None:
    table = pa.concat_tables([bench.rows([1, 2], "old"), bench.rows([2, 3], "new")])
    bench.load(bench.plan(), table)
    got = bench.lake.load(bench.plan()).scan().to_arrow().sort_by("id").to_pydict()
    assert got["id"] == [1, 2, 3]
    assert got["status"] == ["old", "new", "new"]


def test_upsert_replaces_rows_by_key_in_one_snapshot(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows(range(100), "old"))
    done = bench.load(bench.plan(), bench.rows(range(90, 110), "new"))
    assert done.rows_replaced == 10
    assert bench.ids() == list(range(110))
    assert bench.snapshots() == 2
    bench.load(bench.plan(), bench.rows([95], "newer"))  # files that already carry deletes
    assert bench.ids() == list(range(110))


@pytest.mark.parametrize("partition_by", [("bucket(4, id)",), ("status",)])
def test_upsert_finds_keys_in_partitioned_tables(bench: Any, partition_by: tuple[str, ...]) -> None:
    stream = bench.plan(partition_by=partition_by)
    bench.load(stream, bench.rows(range(50), "old"))
    bench.load(stream, bench.rows(range(40, 60), "new"))
    assert bench.ids(stream) == list(range(60))


def test_a_file_that_is_read_again_replaces_its_own_rows_only(bench: Any) -> None:
    stream = bench.plan(key=(), write_mode="append")
    bench.load(stream, bench.rows([1, 2, 3], file="a.csv"))
    bench.load(stream, bench.rows([7, 8], file="b.csv"))
    bench.load(stream, bench.rows([1, 4], file="a.csv"), files={"a.csv"})
    assert bench.ids(stream) == [1, 4, 7, 8]
    bench.load(stream, bench.rows([]), files={"b.csv"})  # the file is empty now
    assert bench.ids(stream) == [1, 4]


def test_replace_drops_earlier_rows_and_their_deletes_in_one_snapshot(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows(range(10)))
    bench.load(bench.plan(), bench.rows(range(5)))
    done = bench.load(bench.plan(write_mode="replace"), bench.rows([100]))
    assert done.rows_replaced == 10
    assert bench.ids() == [100]
    summary = bench.lake.load(bench.plan()).current_snapshot().summary.additional_properties
    assert summary["total-delete-files"] == "0"


def test_two_runs_from_one_bookmark_publish_once(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    first, second = bench.stage(bench.plan(), bench.rows([2])), bench.stage(bench.plan(), bench.rows([3]))
    bench.publish(first, "first")
    with pytest.raises(RetryableError, match="overtaken by run") as e:
        bench.publish(second, "second")
    assert e.value.failure_class == "overtaken"
    assert bench.ids() == [1, 2]


def test_two_first_runs_publish_once(bench: Any) -> None:
    first, second = bench.stage(bench.plan(), bench.rows([2])), bench.stage(bench.plan(), bench.rows([3]))
    bench.publish(first, "first")
    with pytest.raises(RetryableError, match="overtaken"):
        bench.publish(second, "second")
    assert bench.ids() == [2]


def test_jobs_on_one_table_do_not_overtake_each_other(bench: Any) -> None:
    other = bench.other_job("k")
    bench.load(bench.plan(), bench.rows([1]))
    mine = bench.stage(bench.plan(), bench.rows([2]))
    other.load(bench.plan(), bench.rows([3]))
    bench.publish(mine)
    assert bench.ids() == [1, 2, 3]


def test_a_commit_that_landed_though_its_answer_was_lost_is_not_repeated(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, calls = SqlCatalog.commit_table, []

    def lose_the_answer(self: Any, *args: Any) -> Any:
        calls.append(commit(self, *args))
        raise RequestsConnectionError("connection lost")

    monkeypatch.setattr(SqlCatalog, "commit_table", lose_the_answer)
    monkeypatch.setattr(publisher, "_FIRST_WAIT_S", 0.0)
    bench.load(bench.plan(), bench.rows([1, 2]))
    assert len(calls) == 1
    assert bench.ids() == [1, 2]


def test_a_commit_that_did_not_land_is_tried_again(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, failures = SqlCatalog.commit_table, [RequestsConnectionError("lost"), CommitFailedException("conflict")]

    def fail_first(self: Any, *args: Any) -> Any:
        if failures:
            raise failures.pop()
        return commit(self, *args)

    monkeypatch.setattr(SqlCatalog, "commit_table", fail_first)
    bench.load(bench.plan(), bench.rows([1, 2]))
    assert bench.ids() == [1, 2]
    assert bench.snapshots() == 1


def test_n_grows_with_each_publish_and_the_bookmark_names_its_snapshot(bench: Any) -> None:
    for expected in (1, 2, 3):
        bench.load(bench.plan(), bench.rows([expected]))
        table = bench.lake.load(bench.plan())
        mark = bench.lake.bookmark(table.metadata, "orders")
        assert (mark.n, mark.snapshot_id) == (expected, table.current_snapshot().snapshot_id)


def test_after_a_rollback_by_somebody_else_the_older_receipt_is_the_bookmark(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    first = bench.lake.load(bench.plan()).current_snapshot().snapshot_id
    bench.load(bench.plan(), bench.rows([2]))
    table = bench.lake.load(bench.plan())
    table.manage_snapshots().rollback_to_snapshot(first).commit()
    mark = bench.lake.bookmark(bench.lake.load(bench.plan()).metadata, "orders")
    assert mark.state == {"bookmark": {"i": 1}}
    assert mark.n == 2  # n never falls
    bench.load(bench.plan(), bench.rows([3]))
    assert bench.ids() == [1, 3]


def test_a_reset_forgets_the_state_and_overtakes_a_run_under_way(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    under_way = bench.stage(bench.plan(), bench.rows([2]))
    after = reset_bookmark(bench.lake, bench.plan(), "reset", "reset")
    assert after is not None
    assert (after.n, after.state) == (2, None)
    assert bench.snapshots() == 2  # the change carries a snapshot
    with pytest.raises(RetryableError, match="overtaken"):
        bench.publish(under_way)


def test_a_table_dropped_meanwhile_is_not_made_anew_under_a_run(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    staged = bench.stage(bench.plan(), bench.rows([2]))
    bench.lake.catalog.drop_table(("shop", "orders"))
    with pytest.raises(RetryableError):
        bench.publish(staged)
    assert bench.lake.load(bench.plan()) is None


def test_replace_is_refused_where_another_job_has_rows(bench: Any) -> None:
    bench.other_job("k").load(bench.plan(), bench.rows([1]))
    with pytest.raises(TargetError, match=r"acme\.k\.orders"):
        open_stage(bench.lake, bench.plan(write_mode="replace"))


def test_replace_and_append_are_refused_on_a_table_that_dativo_did_not_make(bench: Any) -> None:
    bench.lake.catalog.create_namespace("shop")
    bench.lake.catalog.create_table("shop.orders", bench.rows([]).schema).append(bench.rows([1]))
    columns = (Column(name="id", type="long"), Column(name="status", type="string"))
    foreign = bench.plan(columns=(*columns, Column(name="_sdc_source_file", type="string")), replace_files=False)
    for mode in ("replace", "append"):
        with pytest.raises(TargetError, match="adopt"):
            open_stage(bench.lake, bench.plan(columns=foreign.columns, replace_files=False, write_mode=mode, key=()))
    adopted = bench.plan(columns=foreign.columns, replace_files=False, write_mode="replace", key=(), adopt=True)
    bench.load(adopted, bench.rows([2]))
    assert bench.ids() == [2]


def test_a_bookmark_of_another_source_is_refused(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    with pytest.raises(TargetError, match="full-refresh"):
        open_stage(bench.lake, bench.plan(fingerprint="another database"))


@pytest.mark.parametrize("evolution", ["strict", "merge"])
def test_a_difference_to_the_contract_is_refused_in_strict_and_applied_in_merge(bench: Any, evolution: str) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    wider = bench.plan(columns=(*bench.plan().columns, Column(name="note", type="string")), evolution=evolution)
    if evolution == "strict":
        with pytest.raises(TargetError, match=r"\+ note string"):
            open_stage(bench.lake, wider)
        return
    bench.load(wider, bench.rows([2]).append_column("note", pa.array(["x"])))
    got = bench.lake.load(wider).scan().to_arrow().sort_by("id").to_pydict()
    assert got["note"] == [None, "x"]
    assert bench.snapshots() == 2  # schema and data in one commit


def test_merge_refuses_what_no_reader_could_follow(bench: Any) -> None:
    bench.load(bench.plan(), bench.rows([1]))
    changed = (Column(name="id", type="string", required=True), *bench.plan().columns[1:])
    with pytest.raises(TargetError, match="- id long"):
        open_stage(bench.lake, bench.plan(columns=changed, evolution="merge"))


def test_waiting_is_spread_and_ends_at_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, pauses = [0.0], []
    monkeypatch.setattr(publisher.time, "monotonic", lambda: clock[0])

    def sleep(pause: float) -> None:
        pauses.append(pause)
        clock[0] += pause

    monkeypatch.setattr(publisher.time, "sleep", sleep)
    backoff = publisher.Backoff(60)
    while backoff.wait():
        pass
    assert clock[0] <= 60
    assert len({round(p, 6) for p in pauses}) == len(pauses) > 10  # many, and no two writers wait alike
    assert max(pauses) <= 5


def test_a_table_that_another_run_makes_while_it_is_looked_at_is_staged_for_as_a_new_one(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = bench.plan(write_mode="upsert")
    before = type(bench.lake).begin

    def slow_begin(self: Any, *arguments: Any) -> Any:
        begun = before(self, *arguments)
        monkeypatch.undo()
        bench.load(bench.plan(stream="other", write_mode="upsert"), bench.rows([7]))
        return begun

    monkeypatch.setattr(type(bench.lake), "begin", slow_begin)
    staged = bench.stage(plan, bench.rows([1]))
    assert not staged.stage.table_existed
    bench.publish(staged)
    assert bench.ids() == [1, 7]
