"""Which files are read again, and what the state says of each."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import tap_csv.stream
from tap_csv.files import OpenFile, SourceFile, open_bytes
from tap_csv.settings import read_settings
from tap_csv.stream import CsvStream
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from pathlib import Path

Sync = Callable[..., Any]
Catalog = Callable[..., dict[str, Any]]
FILES = {"files": [{"path": "*.csv", "object": "orders"}]}


def files_of(output: Any) -> dict[str, Any]:
    return output.state["bookmarks"]["orders"]["files"]


@pytest.fixture
def orders(catalog: Catalog) -> dict[str, Any]:
    return catalog("orders", {"id": "long"})


def test_an_entry_has_size_time_digest_and_count(sync: Sync, orders: Any, lane: str, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n2\n")
    os.utime(file, ns=(0, 1_700_000_000_123_456_789))
    assert files_of(sync(FILES, orders, lane=lane)) == {
        "a.csv": {
            "size": 7,
            "modified": "2023-11-14T22:13:20.123456789Z",
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "records": 2,
        }
    }


def test_a_state_follows_each_file_and_covers_what_came_before(
    sync: Sync, orders: Any, lane: str, tmp_path: Path
) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n1\n")
    output = sync(FILES, orders, lane=lane)
    kinds = [m["type"] for m in output.messages if m["type"] != "SCHEMA"]
    data = "RECORD" if lane == "record" else "BATCH"
    assert kinds[:4] == [data, "STATE", data, "STATE"]
    assert list(output.of("STATE")[0]["value"]["bookmarks"]["orders"]["files"]) == ["a.csv"]


def test_many_small_files_share_states_and_batches(
    sync: Sync, orders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap_csv.stream, "_STATE_EVERY_FILES", 2)
    monkeypatch.setattr(tap_csv.stream, "_STATE_EVERY_S", 3600.0)
    for n in range(9):
        (tmp_path / f"{n}.csv").write_text(f"id\n{n}\n")
    output = sync(FILES, orders, lane="arrow")
    assert len(output.of("BATCH")) == len(output.of("STATE")) == 3
    assert output.column("id") == list(range(9))
    assert len(files_of(output)) == 9


def test_unchanged_files_are_not_read_again_and_the_state_stays(
    sync: Sync, orders: Any, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    state = sync(FILES, orders, lane=lane).state
    before = copy.deepcopy(state)
    again = sync(FILES, orders, state=state, lane=lane)
    assert again.rows == []
    assert again.state == before


def test_only_a_new_file_is_read(sync: Sync, orders: Any, lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    state = sync(FILES, orders, lane=lane).state
    (tmp_path / "b.csv").write_text("id\n2\n")
    again = sync(FILES, orders, state=state, lane=lane)
    assert again.column("id") == [2]
    assert sorted(files_of(again)) == ["a.csv", "b.csv"]


def test_a_changed_file_is_read_whole(sync: Sync, orders: Any, lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    state = sync(FILES, orders, lane=lane).state
    (tmp_path / "a.csv").write_text("id\n1\n2\n")
    assert sync(FILES, orders, state=state, lane=lane).column("id") == [1, 2]


def test_a_file_of_the_same_size_with_another_time_is_compared_by_digest(
    sync: Sync, orders: Any, tmp_path: Path
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    first = sync(FILES, orders)
    state, before = first.state, copy.deepcopy(first.state)
    os.utime(file, ns=(0, 1_000_000_000))
    touched = sync(FILES, orders, state=state)
    assert (touched.rows, touched.state) == ([], before)
    file.write_text("id\n2\n")
    os.utime(file, ns=(0, 2_000_000_000))
    assert sync(FILES, orders, state=state).column("id") == [2]


def test_a_vanished_file_is_reported_and_kept_and_may_come_back(
    sync: Sync, orders: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    (tmp_path / "a.csv").write_text("id\n1\n")
    first = sync(FILES, orders).state
    (tmp_path / "a.csv").rename(tmp_path / "a.txt")
    gone = sync(FILES, orders, state=copy.deepcopy(first))
    assert files_of(gone)["a.csv"] == {**first["bookmarks"]["orders"]["files"]["a.csv"], "missing": True}
    told = [r for r in caplog.records if getattr(r, "event_type", None) == "file_vanished"]
    assert [r.event_fields["file"] for r in told] == ["a.csv"]  # type: ignore[attr-defined]
    (tmp_path / "a.txt").rename(tmp_path / "a.csv")
    back = sync(FILES, orders, state=gone.state)
    assert (back.rows, back.state) == ([], first)


def test_a_named_file_that_was_read_once_may_vanish(sync: Sync, orders: Any, tmp_path: Path) -> None:
    config = {"files": [{"path": "a.csv", "object": "orders"}]}
    (tmp_path / "a.csv").write_text("id\n1\n")
    state = sync(config, orders).state
    (tmp_path / "a.csv").unlink()
    assert files_of(sync(config, orders, state=state))["a.csv"]["missing"] is True


def test_a_full_table_reads_every_file_and_forgets_those_that_vanished(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    orders = catalog("orders", {"id": "long"}, replication_method="FULL_TABLE")
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id\n1\n")
    state = sync(FILES, orders, lane=lane).state
    (tmp_path / "b.csv").unlink()
    again = sync(FILES, orders, state=state, lane=lane)
    assert again.column("_sdc_source_file") == ["a.csv"]
    assert list(files_of(again)) == ["a.csv"]


def test_a_replication_key_of_the_catalog_leaves_the_state_alone(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,at\n1,2024-01-01\n")
    orders = catalog(
        "orders", {"id": "long", "at": "timestamptz"}, replication_key="at", replication_method="INCREMENTAL"
    )
    orders["streams"][0]["schema"]["properties"]["at"]["format"] = "date-time"
    assert list(sync(FILES, orders).state["bookmarks"]["orders"]) == ["files"]


def test_files_older_than_the_start_date_are_not_read_and_have_not_vanished(
    sync: Sync, orders: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name, seconds in (("a.csv", 1_600_000_000), ("b.csv", 1_700_000_000)):
        (tmp_path / name).write_text("id\n1\n")
        os.utime(tmp_path / name, (0, seconds))
    output = sync({**FILES, "start_date": "2023-01-01T00:00:00Z"}, orders)
    assert output.column("_sdc_source_file") == ["b.csv"]


@pytest.mark.parametrize("change", ["append", "rewrite", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_is_an_error(
    sync: Sync, orders: Any, lane: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("id\n1\n")
    send = CsvStream._send

    def interfere(self: CsvStream, *arguments: Any) -> None:
        send(self, *arguments)
        if change == "append":
            with file.open("a") as more:
                more.write("2\n")
        elif change == "rewrite":
            file.write_text("id\n3\n")
            os.utime(file, ns=(0, 5))
        elif change == "replace":
            status = file.stat()
            (tmp_path / "new").write_text("id\n4\n")
            (tmp_path / "new").rename(file)
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        else:
            file.unlink()

    monkeypatch.setattr(CsvStream, "_send", interfere)
    with pytest.raises(TapError, match=r"a.csv: the file changed while it was read"):
        sync(FILES, orders, lane=lane)


def test_a_file_that_grows_for_ever_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    dialect = read_settings({"files": [{"path": "a.csv"}]}).file_sets[0].dialect
    file = SourceFile(tmp_path / "a.csv", "a.csv", dialect)
    with open_bytes(file) as stream, (tmp_path / "a.csv").open("a", buffering=1) as more:
        source = OpenFile(file, stream)
        more.write("2\n")
        assert source.read(100) + source.read(100) == b"id\n1\n"
        with pytest.raises(TapError, match="changed while it was read"):
            source.finish()


def test_the_state_is_json(sync: Sync, orders: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert json.loads(json.dumps(sync(FILES, orders).state))
