"""Tests that every tap of a database has to pass, for its own tests to inherit.

They use the fixtures `database` (with `run` and `config`), `sync` and `catalog`, and SQL that all databases understand.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from tap_kit.database.rows import Reader
from tap_kit.errors import TapError, TransientError
from tap_kit.origin import ORIGIN_ENV

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ALL = [[None, None]]
ROWS = 5_000


class DetectsDeletions:
    """`detect_deletes: keys`."""

    schema = "public"
    """Where the test's tables lie; empty where it is called like the database."""
    analyze = "ANALYZE t"
    """Has the server count the rows."""
    types: ClassVar[dict[str, str]] = {"id": "long", "name": "string", "changed": "timestamp"}

    @pytest.fixture
    def run(
        self, database: Any, sync: Callable[..., Any], catalog: Callable[..., Any], tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Callable[..., Any]:  # fmt: skip
        """`run(state, lane=…, new=…)`: of table t, which is new to the lake unless there is a state."""

        def once(
            state: Any = None, *, lane: str = "record", new: bool | None = None, key: tuple[str, ...] = ("id",),
            method: str = "INCREMENTAL", allow_empty: bool = False, types: Any = None, **settings: Any,
        ) -> Any:  # fmt: skip
            said = {"origin": "lake", "new": ["t"] if new or (new is None and state is None) else []}
            (tmp_path / "origin").write_text(json.dumps(said))
            monkeypatch.setenv(ORIGIN_ENV, str(tmp_path / "origin"))
            chosen = catalog("t", types or self.types, key, replication_method=method, replication_key="changed")
            chosen["streams"][0]["metadata"][0]["metadata"]["dativo-allow-empty"] = allow_empty
            table = {"name": f"{self.schema or database.name}.t", "cursor_field": "changed"}
            return sync(database.config(table, detect_deletes="keys", **settings), chosen, state, lane)

        return once

    @pytest.fixture
    def filled(self, database: Any) -> Any:
        """Rows from -9 to 4,990."""
        database.run("CREATE TABLE t (id bigint PRIMARY KEY, name varchar(20), changed timestamp)")
        self.insert(database, range(-9, ROWS - 9))
        return database

    def insert(self, database: Any, ids: Any) -> None:
        """Rows with some ids."""
        rows = [f"({i}, 'n', '2024-01-01 00:00:00')" for i in ids]
        for start in range(0, len(rows), 1000):
            values = ", ".join(rows[start : start + 1000])
            database.run(f"INSERT INTO t (id, name, changed) VALUES {values}", self.analyze)  # noqa: S608

    def test_what_is_gone_is_found_in_its_part_of_the_table(self, filled: Any, run: Any, lane: str) -> None:
        first = run(lane=lane)
        assert first.listed == [], "a table that is new has nothing to delete"
        assert "_sdc_deleted_at" in first.schema["properties"]
        filled.run("DELETE FROM t WHERE id IN (7, 2500)", "INSERT INTO t VALUES (9000, 'x', '2024-02-01 00:00:00')")
        second = run(first.state, lane=lane)
        ((ranges, keys),) = second.listed
        ids = {k["id"] for k in keys}
        assert len(ids) == len(keys)
        assert not {7, 2500} & ids
        assert {6, 8, 2499, 9000} <= ids
        for gone in (7, 2500):
            assert any(low <= gone <= high for low, high in ranges)
        assert not any(low <= 4500 <= high for low, high in ranges), "where nothing has changed, nothing is read"
        assert ids == {*range(-9, ROWS - 9), 9000} - {7, 2500} & ids
        assert all(any(low <= i <= high for low, high in ranges) for i in ids)
        assert len(ids) < ROWS
        third = run(second.state, lane=lane)
        assert third.listed == []
        assert third.state == second.state

    def test_keys_are_listed_behind_the_rows_that_they_judge(self, filled: Any, run: Any, lane: str) -> None:
        first = run(lane=lane)
        filled.run("UPDATE t SET changed = '2024-03-01 00:00:00' WHERE id = 5", "DELETE FROM t WHERE id = 4000")
        second = run(first.state, lane=lane)
        order = [m["type"] for m in second.messages if m["type"] in ("RECORD", "BATCH", "DATIVO_KEYS")]
        assert order[0] != "DATIVO_KEYS"
        assert order[-1] == "DATIVO_KEYS"
        assert [r["id"] for r in second.rows if r["id"] == 5] == [5]

    @pytest.mark.usefixtures("filled")
    def test_of_a_table_that_the_lake_has_rows_of_all_keys_are_listed_once(self, run: Any) -> None:
        first = run(new=False)
        ((ranges, keys),) = first.listed
        assert (ranges, len(keys)) == (ALL, ROWS)
        assert run(first.state).listed == []

    def test_a_load_that_goes_on_finds_what_went_since_it_began(self, filled: Any, run: Any) -> None:
        whole = run(chunk_rows=1000)
        begun = whole.of("STATE")[2]["value"]
        assert begun["bookmarks"]["t"]["full_load"]
        filled.run("DELETE FROM t WHERE id = 1")
        rest = run(begun, chunk_rows=1000)
        assert 1 not in {r["id"] for r in rest.rows}
        ((ranges, keys),) = rest.listed
        assert any(low <= 1 <= high for low, high in ranges)
        assert 1 not in {k["id"] for k in keys}

    def test_a_part_that_is_empty_now_is_listed_as_such(self, filled: Any, run: Any) -> None:
        first = run()
        filled.run("DELETE FROM t WHERE id >= 2048 AND id < 3072")
        ((ranges, keys),) = run(first.state).listed
        assert ranges == [[2048, 3071]]
        assert keys == []

    def test_a_table_that_is_empty_is_only_emptied_where_that_is_allowed(
        self, filled: Any, run: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        first = run()
        filled.run("DELETE FROM t")
        second = run(first.state)
        assert second.listed == []
        assert "is empty; the lake keeps its rows" in caplog.text
        assert second.state["bookmarks"]["t"]["keys"] == first.state["bookmarks"]["t"]["keys"]
        assert run(second.state, allow_empty=True).listed == [(ALL, [])]

    def test_a_growing_table_gets_larger_parts_and_not_more(self, filled: Any, run: Any) -> None:
        state = run().state
        self.insert(filled, range(8192, 1024 * 1200, 1024 * 4))  # most of them are new parts
        second = run(state)
        sums = second.state["bookmarks"]["t"]["keys"]
        assert len(sums["sums"]) <= 256
        assert sums["step"] > state["bookmarks"]["t"]["keys"]["step"]
        filled.run("DELETE FROM t WHERE id = 4000")
        ((ranges, keys),) = run(second.state).listed
        assert len(ranges) == 1
        assert 4000 not in {k["id"] for k in keys}
        assert run(run(second.state).state).listed == []

    def test_keys_of_texts_and_of_several_columns(self, database: Any, run: Any, lane: str) -> None:
        database.run(
            "CREATE TABLE t (a varchar(20), b int, changed timestamp, PRIMARY KEY (a, b))",
            "INSERT INTO t VALUES ('x', 1, '2024-01-01 00:00:00'), ('x', 11, '2024-01-01 00:00:00'), ('x1', 1, '2024-01-01 00:00:00')",
        )
        how: Any = {"key": ("a", "b"), "types": {"a": "string", "b": "long", "changed": "timestamp"}, "lane": lane}
        first = run(**how)
        assert run(first.state, **how).listed == []
        database.run("DELETE FROM t WHERE b = 11", "INSERT INTO t VALUES ('x11', 1, '2024-01-01 00:00:00')")
        ((ranges, keys),) = run(first.state, **how).listed
        assert ranges == ALL
        assert sorted((k["a"], k["b"]) for k in keys) == [("x", 1), ("x1", 1), ("x11", 1)]

    def test_a_key_that_the_lake_has_as_text_is_one_part(self, filled: Any, run: Any) -> None:
        types = {**self.types, "id": "string"}
        first = run(types=types)
        filled.run("DELETE FROM t WHERE id = 1")
        ((ranges, keys),) = run(first.state, types=types).listed
        assert (ranges, len(keys)) == (ALL, ROWS - 1)
        assert keys[0]["id"].lstrip("-").isdigit()

    def test_full_loads_find_what_is_gone_too(self, filled: Any, run: Any) -> None:
        first = run(method="FULL_TABLE")
        filled.run("DELETE FROM t WHERE id = 1")
        second = run(first.state, method="FULL_TABLE")
        assert len(second.rows) == ROWS - 1
        assert 1 not in {k["id"] for k in second.listed[0][1]}

    def test_a_table_without_a_key_says_so(self, database: Any, run: Any) -> None:
        database.run("CREATE TABLE t (id bigint, name varchar(20), changed timestamp)")
        with pytest.raises(TapError, match="detect_deletes needs a key"):
            run(key=())


class SurvivesTheNetwork:
    """A table of 30 MB through a proxy that cuts, stops or refuses connections; uses the fixture `toxiproxy`, too."""

    schema = "public"
    """Where the test's tables lie; empty where it is called like the database."""
    rows = 60_000

    @pytest.fixture
    def proxied(self, database: Any, toxiproxy: Any) -> tuple[Any, dict[str, Any]]:
        """The proxy, and settings of the tap that lead through it."""
        proxy = toxiproxy.before(f"http://{database.server.host}:{database.server.port}")
        proxy.toxic("bandwidth", rate=10_000)  # so that the rest is still under way when a fault comes
        host, _, port = proxy.address.removeprefix("http://").partition(":")
        database.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(500))")
        for start in range(0, self.rows, 10_000):
            values = ", ".join(f"({i}, repeat('x', 500))" for i in range(start, start + 10_000))
            database.run(f"INSERT INTO t VALUES {values}")  # noqa: S608
        table = f"{self.schema or database.name}.t"
        return proxy, {**database.config(table, chunk_rows=20_000), "host": host, "port": int(port)}

    @pytest.fixture
    def after_some_rows(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
        """`after_some_rows(fault)`: calls it once, between two batches."""

        def arrange(fault: Callable[[], None]) -> None:
            read, done = Reader.read, threading.Event()

            def reading(self: Reader, session: Any, source: str) -> Iterator[Any]:
                for i, rows in enumerate(read(self, session, source)):
                    yield rows
                    if i == 2 and not done.is_set():
                        done.set()
                        fault()

            monkeypatch.setattr(Reader, "read", reading)

        return arrange

    def test_a_connection_that_is_cut(
        self, proxied: Any, sync: Any, after_some_rows: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        proxy, config = proxied

        def cut() -> None:
            proxy.connect(False)
            proxy.connect(True)

        after_some_rows(cut)
        assert sorted(sync(config, lane="arrow").column("id")) == list(range(self.rows))
        assert "asking again" in caplog.text

    def test_a_network_that_stands_still_for_a_while(
        self, proxied: Any, sync: Any, after_some_rows: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        proxy, config = proxied

        def pause() -> None:
            proxy.toxic("timeout", timeout=0)
            proxy.heal_later(2)

        after_some_rows(pause)
        assert sorted(sync(config, lane="arrow").column("id")) == list(range(self.rows))
        assert "asking again" in caplog.text

    def test_a_server_that_cannot_be_reached_for_a_while(self, proxied: Any, sync: Any, after_some_rows: Any) -> None:
        proxy, config = proxied

        def part() -> None:
            proxy.connect(False)
            proxy.heal_later(2)

        after_some_rows(part)
        assert sorted(sync(config, lane="arrow").column("id")) == list(range(self.rows))

    def test_a_network_that_breaks_again_and_again(self, proxied: Any, sync: Any) -> None:
        """Each connection carries less than a part of the load."""
        proxy, config = proxied
        proxy.heal()
        proxy.toxic("limit_data", bytes=16_000_000)
        proxy.heal_later(6)
        assert sorted(sync(config, lane="arrow").column("id")) == list(range(self.rows))

    def test_a_server_that_stays_away_ends_the_run(self, proxied: Any, sync: Any, after_some_rows: Any) -> None:
        proxy, config = proxied
        after_some_rows(lambda: proxy.connect(False))
        with pytest.raises(TransientError, match="does not answer"):
            sync({**config, "retry_s": 2}, lane="arrow")


class RestsWhileNothingIsNew:
    """An incremental run reads the rows at its bookmark again only when they are not what they were."""

    schema = "public"
    """Where the test's tables lie; empty where it is called like the database."""

    @pytest.fixture
    def read(self, database: Any, sync: Callable[..., Any], lane: str) -> Callable[..., Any]:
        """`read(state, **settings)`: the output, and the ids of its rows."""

        def once(state: Any = None, **settings: Any) -> Any:
            table = {"name": f"{self.schema or database.name}.t", "cursor_field": "changed"}
            output = sync(database.config(table, **settings), state=state, lane=lane)
            return output, sorted(row["id"] for row in output.rows)

        return once

    @pytest.fixture
    def filled(self, database: Any) -> Any:
        """Three rows, two of them with the greatest cursor."""
        database.run("CREATE TABLE t (id int PRIMARY KEY, name varchar(20), weight real, changed timestamp)")
        for i, day in ((1, 1), (2, 2), (3, 2)):
            database.run(f"INSERT INTO t VALUES ({i}, 'n', 0.1, '2024-01-0{day} 00:00:00')")  # noqa: S608
        return database

    def test_rows_at_the_bookmark_come_again_when_they_have_changed(
        self, filled: Any, read: Callable[..., Any]
    ) -> None:
        filled.run("CREATE INDEX t_changed ON t (changed)")
        output, ids = read()
        assert ids == [1, 2, 3]
        for statement, wanted in (
            ("", []),
            ("INSERT INTO t VALUES (4, 'late', 0, '2024-01-02 00:00:00')", [2, 3, 4]),
            ("", []),
            ("UPDATE t SET name = NULL, changed = '2024-01-02 00:00:00' WHERE id = 2", [2, 3, 4]),
            ("DELETE FROM t WHERE id = 3", [2, 4]),
            ("UPDATE t SET name = 'old', changed = '2024-01-01 00:00:00' WHERE id = 1", []),
            ("INSERT INTO t VALUES (5, 'new', 0, '2024-01-03 00:00:00')", [2, 4, 5]),
            ("", []),
        ):
            before = output.state
            if statement:
                filled.run(statement)
            output, ids = read(before)
            assert (statement, ids) == (statement, wanted)
            if not statement:
                assert output.state == before

    def test_without_an_index_a_look_costs_as_much_as_reading(self, filled: Any, read: Callable[..., Any]) -> None:
        assert filled
        output, _ = read()
        assert read(output.state)[1] == [2, 3]

    def test_a_lookback_reads_again_whatever_is_in_it(self, filled: Any, read: Callable[..., Any]) -> None:
        filled.run("CREATE INDEX t_changed ON t (changed)")
        output, _ = read(lookback_hours=24)
        assert read(output.state, lookback_hours=24)[1] == [1, 2, 3]

    def test_a_row_that_comes_while_a_run_reads_is_not_taken_for_read(
        self, filled: Any, read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        filled.run("CREATE INDEX t_changed ON t (changed)")
        of_reader, has_come = Reader.read, threading.Event()

        def while_reading(self: Reader, session: Any, source: str) -> Iterator[Any]:
            if not has_come.is_set():
                has_come.set()
                filled.run("INSERT INTO t VALUES (4, 'meanwhile', 0, '2024-01-02 00:00:00')")
            yield from of_reader(self, session, source)

        monkeypatch.setattr(Reader, "read", while_reading)
        output, _ = read()
        assert has_come.is_set()
        assert 4 in read(output.state)[1]

    def test_a_cursor_that_is_yet_to_come_is_told(
        self, filled: Any, read: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        read()
        assert "yet to come" not in caplog.text
        filled.run("INSERT INTO t VALUES (9, 'placeholder', 0, '2037-12-31 00:00:00')")
        read()
        assert "the greatest changed is 2037-12-31" in caplog.text

    def test_rows_that_come_late_to_a_table_without_a_key_are_told(
        self, database: Any, sync: Callable[..., Any], catalog: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        database.run(
            "CREATE TABLE t (id int, changed date)", "INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-02')"
        )
        how = {"resume": "exclusive", "replication_method": "INCREMENTAL", "replication_key": "changed"}
        chosen = catalog("t", {"id": "long", "changed": "date"}, **how)
        config = database.config({"name": f"{self.schema or database.name}.t", "cursor_field": "changed"})
        first = sync(config, chosen)
        assert sync(config, chosen, first.state).rows == []
        database.run("INSERT INTO t VALUES (3, '2024-01-03')")
        second = sync(config, chosen, first.state)
        assert [row["id"] for row in second.rows] == [3]
        assert "have come or changed" not in caplog.text
        database.run("INSERT INTO t VALUES (4, '2024-01-03')")
        third = sync(config, chosen, second.state)
        assert third.rows == []
        assert "rows with changed = 2024-01-03 have come or changed since they were read" in caplog.text
        caplog.clear()
        sync(config, chosen, third.state)
        assert "have come or changed" not in caplog.text, "once is enough"


class GoesOnWithSeveralTables:
    """A load of all rows of several tables. The fixture `orders` is a database with a table of 1,000 orders."""

    def test_finished_tables_are_not_begun_again(self, orders: Any, sync: Callable[..., Any], lane: str) -> None:
        orders.run("CREATE TABLE others (id int PRIMARY KEY)", "INSERT INTO others VALUES (1), (2)")
        config = orders.config("orders", "others")
        whole = sync(config, lane=lane)
        begun = [s["value"] for s in whole.of("STATE") if s["value"]["bookmarks"].get("orders", {}).get("full_load")][
            -1
        ]
        assert begun["bookmarks"]["orders"] == {"full_load": {"done": True}}
        rest = sync(config, state=begun, lane=lane)
        assert {m["stream"] for m in rest.messages if m["type"] in ("RECORD", "BATCH")} == {"others"}
        assert len(rest.rows) == 2
        assert rest.state == whole.state
        again = sync(config, state=rest.state, lane=lane)
        assert len(again.raw) + len(again.batched) == 1002, "the next run loads all of them"
