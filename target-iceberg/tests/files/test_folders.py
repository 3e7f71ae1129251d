"""Tables that are folders of a store, in every store: one manifest says what is in them."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow.parquet as pq
import pytest

from target_iceberg import lake
from target_iceberg.errors import TargetError

if TYPE_CHECKING:
    from target_iceberg.table.files_catalog import FilesManifest

NEW = [{"id": n, "status": "new", "amount": "1.50"} for n in range(6)]


def listed_rows(folder: Any, manifest: FilesManifest, table: str = "orders") -> list[dict[str, Any]]:
    """Rows of the objects that a manifest lists, read as plain Parquet, with nothing known of Iceberg."""
    found = []
    for o in manifest.objects:
        data = folder.read(o.path, table)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (o.bytes, o.sha256)
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        assert len(rows) == o.rows
        found += rows
    return found


def test_a_run_is_objects_by_partition_and_a_manifest_that_names_them(each_folder: Any) -> None:
    done = each_folder.run(each_folder.plan(), NEW, at=1)
    assert done.code == 0, done.err
    manifest = each_folder.manifest()
    assert (manifest.n, manifest.table, manifest.format, manifest.rows) == (1, "shop.orders", "parquet", 6)
    today = dt.datetime.now(tz=dt.timezone.utc).date()
    assert all(o.path.startswith(f"ingest_date={today}/") for o in manifest.objects)
    assert {r["id"]: r["status"] for r in listed_rows(each_folder, manifest)} == dict.fromkeys(range(6), "new")
    assert each_folder.rows() == dict.fromkeys(range(6), "new")
    assert manifest.bookmarks["acme.load.orders"]["state"]["bookmark"] == {"at": 1}
    assert manifest.receipt["dativo.run-id"] == done.report.run_id
    assert json.loads(each_folder.read("_latest")) == {"n": 1, "manifest": "_manifests/000000000001.json"}


def test_changed_rows_are_written_anew_and_plain_readers_see_each_once(each_folder: Any) -> None:
    plan = each_folder.plan()
    assert each_folder.run(plan, NEW, at=1).code == 0
    first = each_folder.manifest().objects
    changed = [{"id": n, "status": "paid", "amount": "2"} for n in (4, 5, 6)]
    assert each_folder.run(plan, changed, at=2).code == 0
    expected = {**dict.fromkeys(range(4), "new"), **dict.fromkeys((4, 5, 6), "paid")}
    second = each_folder.manifest()
    plain = listed_rows(each_folder, second)
    assert {r["id"]: r["status"] for r in plain} == each_folder.rows() == expected
    assert len(plain) == second.rows == 7
    assert not {o.path for o in first} & {o.path for o in second.objects}
    folders = {o.path.rpartition("/")[0] for o in second.objects}
    assert len(folders) == 1, folders
    assert {o.path for o in first} <= each_folder.paths(), "what earlier manifests list stays"


def test_the_same_run_again_replaces_nothing_and_doubles_nothing(each_folder: Any) -> None:
    plan = each_folder.plan()
    assert each_folder.run(plan, NEW, at=1).code == 0
    before = each_folder.paths()
    done = each_folder.run(plan, [], at=1)
    assert (done.code, done.report.outcome) == (0, "unchanged")
    assert each_folder.paths() == before


def test_bad_records_go_to_a_folder_of_their_own(each_folder: Any) -> None:
    done = each_folder.run(each_folder.plan(), [*NEW, {"id": 9, "status": "lost"}], at=1)
    assert (done.code, done.report.outcome) == (0, "partial"), done.err
    assert each_folder.manifest().rows == 6
    rejects = each_folder.manifest("orders__rejects")
    (reject,) = listed_rows(each_folder, rejects, "orders__rejects")
    assert reject["rule"] == "orders.status.enum"
    (shown,) = lake.rejects(each_folder.plan())
    assert shown.status == "open"


def test_a_killed_run_leaves_nothing_that_a_manifest_lists_and_the_next_completes(folder: Any) -> None:
    plan = folder.plan()
    assert folder.run(plan, NEW, at=1).code == 0
    before = folder.manifest()
    for stage in ("before_commit", "after_commit"):
        killed = folder.finish(folder.start(plan, [{"id": 1, "status": "paid"}], at=2, DATIVO_TEST_CRASH_AT=stage))
        assert killed.code == -9
        assert "STATE" not in killed.out
        if stage == "before_commit":
            assert folder.manifest() == before
        state = lake.preflight(plan).state
        if state["bookmarks"]["orders"] == {"at": 1}:
            assert folder.run(plan, [{"id": 1, "status": "paid"}], at=2).code == 0
        assert folder.rows() == {**dict.fromkeys(range(6), "new"), 1: "paid"}
        assert folder.manifest().rows == 6


def test_of_two_runs_of_a_job_one_is_overtaken(each_folder: Any) -> None:
    plan = each_folder.plan(each_folder.stream(write_mode="append", at_least_once=True, key=()))
    assert each_folder.run(plan, NEW[:1], at=1).code == 0
    state = lake.preflight(plan).state
    runs = [each_folder.start(plan, NEW[1:3], at=2, start=state) for _ in range(2)]
    ended = [each_folder.finish(r) for r in runs]
    assert sorted(e.code for e in ended) == [0, 2]
    assert any("overtaken" in e.err for e in ended)
    assert each_folder.manifest().rows == 3


def test_jobs_that_append_to_one_table_all_finish(each_folder: Any) -> None:
    stream = each_folder.stream(write_mode="append", at_least_once=True, key=())
    plans = [each_folder.plan(stream, job=f"job{n}") for n in range(4)]
    runs = [each_folder.start(p, [{"id": n, "status": "new"}], at=1) for n, p in enumerate(plans)]
    ended = [each_folder.finish(r) for r in runs]
    assert [e.code for e in ended] == [0] * 4, "".join(e.err for e in ended if e.code)
    manifest = each_folder.manifest()
    assert sorted(r["id"] for r in listed_rows(each_folder, manifest)) == [0, 1, 2, 3]
    assert set(manifest.bookmarks) == {f"acme.job{n}.orders" for n in range(4)}
    assert manifest.n == 4


def test_readers_find_a_manifest_that_nobody_has_pointed_to(folder: Any) -> None:
    plan = folder.plan()
    assert folder.run(plan, NEW, at=1).code == 0
    pointer = folder.read("_latest")
    assert folder.run(plan, [{"id": 7, "status": "new"}], at=2).code == 0
    folder.catalog.store.write("orders/_latest", pointer)  # as a run leaves it that was killed right after its manifest
    assert folder.manifest().n == 2
    folder.catalog.store.delete("orders/_latest")
    assert folder.manifest().n == 2
    assert folder.run(plan, [{"id": 8, "status": "new"}], at=3).code == 0
    assert folder.manifest().rows == 8


def test_replace_lists_the_new_objects_alone(folder: Any) -> None:
    plan = folder.plan(folder.stream(write_mode="replace"))
    assert folder.run(plan, NEW, at=1).code == 0
    assert folder.run(plan, NEW[:2], at=2, start={}).code == 0
    manifest = folder.manifest()
    assert sorted(r["id"] for r in listed_rows(folder, manifest)) == [0, 1]
    assert folder.rows() == {0: "new", 1: "new"}


def test_rows_of_older_columns_survive_being_written_anew(folder: Any) -> None:
    plan = folder.plan()
    assert folder.run(plan, NEW, at=1).code == 0
    wider = (*plan.streams[0].columns, msgspec.structs.replace(plan.streams[0].columns[1], name="note"))
    evolved = folder.plan(folder.stream(columns=wider, evolution="merge"))
    assert folder.run(evolved, [{"id": 0, "status": "paid", "note": "hello"}], at=2).code == 0
    rows = {r["id"]: r for r in folder.catalog.load_table(("shop", "orders")).scan().to_arrow().to_pylist()}
    assert (rows[0]["note"], rows[1]["note"], rows[1]["status"]) == ("hello", None, "new")
    assert len(rows) == 6


def test_the_receipt_is_true_of_the_files_and_rows(folder: Any) -> None:
    plan = folder.plan(folder.stream(content_digest=True))
    for at, rows in enumerate(
        [NEW, [{"id": 2, "status": "paid"}], [{"id": 3, "status": "old"}, {"id": 3, "status": "paid"}]]
    ):
        assert folder.run(plan, rows, at=at).code == 0
        table = lake.open_lake(folder.settings).table("shop.orders")
        assert table is not None
        found = table.verify()
        assert found.problems == []
        assert found.content_rows == 6


def test_a_folder_of_another_namespace_is_not_taken(folder: Any) -> None:
    assert folder.run(folder.plan(), NEW, at=1).code == 0
    other = folder.plan(folder.stream(namespace=("crm",)))
    done = folder.run(other, NEW, at=1, start={})
    assert done.code == 2
    assert "is the table shop.orders and not crm.orders" in done.err


@pytest.mark.parametrize("name", ["..", "_manifests"])
def test_a_name_that_leads_elsewhere_is_no_table(folder: Any, name: str) -> None:
    done = folder.run(folder.plan(folder.stream(table=name)), NEW, at=1, start={})
    assert done.code == 2
    assert "cannot be the name of a folder" in done.err


def test_tables_are_listed_with_their_namespaces(folder: Any) -> None:
    assert folder.run(folder.plan(), NEW, at=1).code == 0
    assert lake.open_lake(folder.settings).list_tables() == ["shop.orders"]


def test_forgetting_a_bookmark_is_a_manifest_too(folder: Any) -> None:
    assert folder.run(folder.plan(), NEW, at=1).code == 0
    lake.reset(folder.plan())
    manifest = folder.manifest()
    assert (manifest.n, manifest.rows) == (2, 6)
    assert "state" not in manifest.bookmarks["acme.load.orders"]


def test_a_place_that_cannot_be_written_is_a_warning_before_the_run(
    folder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise TargetError("the object store refuses access", "storage")

    assert lake.preflight(folder.plan()).warnings == []
    monkeypatch.setattr(lake, "_probe", refused)
    assert lake.preflight(folder.plan()).warnings == ["the object store refuses access"]


@pytest.mark.parametrize("wrong", ["key", "container"])
def test_azure_refusals_say_what_to_check(azurite: Any, make_folder: Any, wrong: str) -> None:
    properties, root = dict(azurite.properties), azurite.root
    if wrong == "key":
        text = properties["adls.connection-string"]
        key = text.partition("AccountKey=")[2].partition(";")[0]
        properties["adls.connection-string"] = text.replace(key, key[:8][::-1] + key[8:])
    else:
        root = "abfs://nowhere"
    folder = make_folder(root, properties)
    done = folder.run(folder.plan(), NEW, at=1, start={})
    assert done.code == 2
    assert ("refuses access" if wrong == "key" else "there is no such bucket") in done.err, done.err
    assert "Traceback" not in done.err
    assert key[8:] not in done.err if wrong == "key" else True


def test_a_corrected_reject_becomes_a_row_of_the_folder_once(folder: Any) -> None:
    plan = folder.plan()
    folder.run(plan, [*NEW, {"id": 9, "status": "lost"}], at=1)
    (reject,) = lake.rejects(plan)
    for turn in range(2):
        (done,) = lake.replay(plan, lambda _: True, {reject.id: {"status": "paid"}} if turn == 0 else {})
        assert done.published == (1 if turn == 0 else 0)
    assert folder.rows() == {**dict.fromkeys(range(6), "new"), 9: "paid"}
    assert [r.status for r in lake.rejects(plan)] == ["replayed"]
    assert len(listed_rows(folder, folder.manifest("orders__rejects"), "orders__rejects")) == 1
