"""`publish_every_s`: a long run becomes visible in rounds, and each round is judged on its own."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from target_iceberg import lake

SCHEMA = {"properties": {"id": {"type": "integer"}}}


def at_every_state(target: Any, *streams: Any, **limits: Any) -> Any:
    target.plan = msgspec.structs.replace(target.job_plan(*streams, **limits), publish_every_s=1e-9)
    return target


@pytest.fixture(params=["append", "upsert"])
def rounds(target: Any, request: pytest.FixtureRequest) -> Any:
    return at_every_state(target, target.stream_plan(write_mode=request.param, replace_files=False))


def messages(target: Any, *parts: Any, start: Any = None, end: bool = True, streams: Any = ("orders",)) -> list[Any]:
    """A run: lists of records of the first stream, (stream, records), or dicts (bookmarks of a STATE)."""
    sent: list[Any] = [{"type": "DATIVO_START", "run": "r", "state": target.state() if start is None else start}]
    sent += [{"type": "SCHEMA", "stream": s, "schema": SCHEMA, "key_properties": ["id"]} for s in streams]
    for part in parts:
        if isinstance(part, dict):
            sent.append({"type": "STATE", "value": {"bookmarks": part}})
            continue
        stream, records = part if isinstance(part, tuple) else (streams[0], part)
        sent += [{"type": "RECORD", "stream": stream, "record": r} for r in records]
    return [*sent, {"type": "DATIVO_END"}] if end else sent


def orders(target: Any, *ids: int, **more: Any) -> list[Any]:
    return [target.order(i, **more) for i in ids]


def test_each_state_publishes_what_stands_before_it(rounds: Any) -> None:
    done = rounds.send(
        *messages(rounds, orders(rounds, 1, 2), {"orders": 2}, orders(rounds, 3), {"orders": 3}, orders(rounds, 4), {"orders": 4})
    )  # fmt: skip
    assert done.code == 0
    assert rounds.ids() == [1, 2, 3, 4]
    assert rounds.snapshots() == 3
    assert [s["bookmarks"]["orders"] for s in done.states] == [2, 3, 4]
    (stream,) = done.report.streams
    assert (done.report.outcome, stream.read, stream.published, stream.bookmark_n) == ("published", 4, 4, 3)


def test_a_tap_that_fails_leaves_the_rounds_before_and_the_next_run_goes_on(rounds: Any) -> None:
    done = rounds.send(
        *messages(rounds, orders(rounds, 1, 2), {"orders": 2}, orders(rounds, 3), end=False),
    )
    assert done.code != 0
    assert [s["bookmarks"]["orders"] for s in done.states] == [2]
    (stream,) = done.report.streams
    assert (done.report.outcome, stream.read, stream.published, stream.withheld) == ("partial", 3, 2, 1)
    assert rounds.ids() == [1, 2]
    assert rounds.state() == {"bookmarks": {"orders": 2}}
    assert rounds.send(*messages(rounds, orders(rounds, 3, 4), {"orders": 4})).code == 0
    assert rounds.ids() == [1, 2, 3, 4]


@pytest.mark.parametrize("stage", ["before_commit:2", "after_commit:1", "after_commit:2", "before_state"])
def test_a_kill_between_rounds_loses_and_doubles_nothing(rounds: Any, stage: str) -> None:
    parts = (orders(rounds, 1, 2), {"orders": 2}, orders(rounds, 3), {"orders": 3}, orders(rounds, 4), {"orders": 4})
    rounds.send(*messages(rounds, *parts), DATIVO_TEST_CRASH_AT=stage)
    reached = (rounds.state().get("bookmarks") or {}).get("orders", 0)
    assert rounds.ids() == list(range(1, reached + 1))
    rest = orders(rounds, *range(reached + 1, 6))
    assert rounds.send(*messages(rounds, rest, {"orders": 5})).code == 0
    assert rounds.ids() == [1, 2, 3, 4, 5]


def test_a_violation_withholds_its_round_and_ends_the_run(rounds: Any) -> None:
    done = rounds.send(
        *messages(
            rounds,
            orders(rounds, 1, 2),
            {"orders": 2},
            orders(rounds, 3, 4) + orders(rounds, 5, status="??"),
            {"orders": 5},
            orders(rounds, 6),
            {"orders": 6},
        )
    )
    assert done.code != 0
    assert rounds.ids() == [1, 2]
    (stream,) = done.report.streams
    assert done.report.outcome == "partial"
    assert stream.published == 2
    assert stream.rejected == 1
    assert stream.read == stream.published + stream.rejected + stream.withheld
    assert rounds.state() == {"bookmarks": {"orders": 2}}


def test_rejects_of_all_rounds_are_kept_once(target: Any) -> None:
    at_every_state(target, target.stream_plan(replace_files=False), violations="warn")
    bad = [orders(target, i, status="??") for i in (2, 4)]
    done = target.send(
        *messages(target, orders(target, 1), bad[0], {"orders": 2}, orders(target, 3), bad[1], {"orders": 4})
    )
    assert target.ids() == [1, 3]
    assert (done.report.streams[0].rejected, done.report.outcome) == (2, "partial")
    assert sorted(r["n"] for r in target.rows("shop.orders__rejects")) == [1, 2]


def test_a_stream_without_news_has_no_round(target: Any) -> None:
    streams = [target.stream_plan(stream=s, table=s, replace_files=False) for s in ("orders", "returns")]
    at_every_state(target, *streams)
    done = target.send(
        *messages(
            target,
            orders(target, 1),
            ("returns", orders(target, 7)),
            {"orders": 1, "returns": 7},
            orders(target, 2),
            {"orders": 2, "returns": 7},
            streams=("orders", "returns"),
        )
    )
    assert done.code == 0
    assert target.ids() == [1, 2]
    table = lake.open_lake(target.plan.catalog).table("shop.returns")
    assert table is not None
    assert len(table.snapshots()) == 1


def test_appended_rows_wait_while_the_tap_says_that_its_bookmark_is_not_valid_yet(target: Any) -> None:
    at_every_state(target, target.stream_plan(write_mode="append", replace_files=False))
    unsorted = {"orders": {"progress_markers": {"replication_key_value": 9}}}
    done = target.send(*messages(target, orders(target, 9, 1), unsorted, orders(target, 2), end=False))
    assert done.states == []
    assert target.ids() == []


def test_a_table_that_is_replaced_is_replaced_once(target: Any) -> None:
    at_every_state(target, target.stream_plan(write_mode="replace", replace_files=False))
    done = target.send(*messages(target, orders(target, 1), {"orders": {}}, orders(target, 2), {"orders": {}}))
    assert done.code == 0
    assert target.ids() == [1, 2]
    assert target.snapshots() == 1
