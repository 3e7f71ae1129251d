"""Whole runs of the tap: rows, rejects, drift, and how it stops."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from datetime import datetime, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from tap_kit.errors import TapError

if TYPE_CHECKING:
    from pathlib import Path

Sync = Callable[..., Any]
Catalog = Callable[..., dict[str, Any]]
ORDERS = {"id": "long", "name": "string", "amount": "decimal(10,2)", "at": "timestamptz"}
TEXT = 'id,name,amount,at\n1,Ann,1.50,2024-01-02T03:04:05Z\n2,"B, ""b""",,2024-01-02 05:04:05+02\n'
FILES = {"files": [{"path": "*.csv", "object": "orders"}]}


def row(number: int, file: str = "a.csv", **values: Any) -> dict[str, Any]:
    return {**values, "_sdc_source_file": file, "_sdc_source_lineno": number}


def events(caplog: pytest.LogCaptureFixture, kind: str) -> list[dict[str, Any]]:
    found = [r for r in caplog.records if getattr(r, "event_type", None) == kind]
    return [{**r.event_fields, "message": r.getMessage()} for r in found]  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")


def test_rows_are_typed_by_the_catalog_and_say_where_they_come_from(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(TEXT)
    output = sync(FILES, catalog("orders", ORDERS, keys=("id",)), lane=lane)
    at = datetime(2024, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
    assert output.rows == [
        row(2, id=1, name="Ann", amount=Decimal("1.50"), at=at),
        row(3, id=2, name='B, "b"', amount=None, at=at),
    ]
    assert len(output.raw) == (2 if lane == "record" else 0)
    assert next(m["type"] for m in output.messages) == "SCHEMA"
    assert output.of("SCHEMA")[0]["key_properties"] == ["id"]
    assert output.schema["properties"]["amount"]["x-dativo-type"] == "decimal(10,2)"
    assert {"_sdc_source_file", "_sdc_source_lineno"} < set(output.schema["properties"])


def test_a_value_that_does_not_fit_travels_as_it_is_in_a_record(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id,name,amount,at\n1,a,1,\nx1,b,2.555,\n3,c,3,never\n")
    output = sync(FILES, catalog("orders", ORDERS), lane=lane)
    assert output.column("id") == [1, "x1", 3]
    assert output.column("amount") == [Decimal("1.00"), Decimal("2.555"), Decimal("3.00")]
    assert output.column("at") == [None, None, "never"]
    misfits = [r for r in output.raw if r["_sdc_source_lineno"] > 2]
    assert [(r["id"], r["amount"], r["at"]) for r in misfits] == [("x1", "2.555", None), (3, "3.00", "never")]
    assert len(output.raw) == (3 if lane == "record" else 2)


def test_records_without_shape_are_rejects_with_file_record_line_and_text(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,name\n1,"a\nb"\n2\n3,c,d\n4,\xff\n5,e\0\n6,"f" g\n7,h\n')
    output = sync(FILES, catalog("orders", {"id": "long", "name": "string"}), lane=lane)
    assert output.rows == [row(2, id=1, name="a\nb"), row(8, id=7, name="h")]
    assert [(r["rule"], r["source"]["record"], r["source"]["line"], r["record"]["raw"]) for r in output.rejects] == [
        ("csv.ragged_row", 3, 4, "2"),
        ("csv.ragged_row", 4, 5, "3,c,d"),
        ("csv.undecodable", 5, 6, "4,\\xff"),
        ("csv.nul_byte", 6, 7, "5,e\0"),
        ("csv.malformed_quotes", 7, 8, '6,"f" g'),
    ]
    assert all(
        r["stream"] == "orders" and r["source"]["file"] == "a.csv" and r["column"] is None for r in output.rejects
    )
    assert "a.csv: record 3, line 4: has 1 fields" in output.rejects[0]["message"]
    assert output.state["bookmarks"]["orders"]["files"]["a.csv"]["records"] == 7


def test_a_long_raw_text_is_cut(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n" + "é" * 5000 + "\n")
    raw = sync(FILES, catalog("orders", {"id": "long", "name": "string"})).rejects[0]["record"]["raw"]
    assert raw == "é" * 2048


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"id,name\n1,a\n2\n", "a.csv: record 3, line 3: has 1 fields, the header 2"),
        (b"id,name\n1,\xff\n", "a.csv: record 2, line 2: has bytes that mean nothing"),
        (b"id,name\n1,a\nx,b\n", "a.csv: record 3, column 'id': the value is no int64"),
        (b'id,name\n1,"a\n2,b\n', "a.csv: record 2, line 2: a quote opens and never closes"),
    ],
)
def test_with_rejects_fail_the_first_bad_record_stops_the_run_and_no_value_is_told(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path, data: bytes, message: str
) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(TapError) as error:
        sync({**FILES, "rejects": "fail"}, catalog("orders", {"id": "long", "name": "string"}), lane=lane)
    assert message in str(error.value)


def test_reordered_columns_are_mapped_by_name(sync: Sync, catalog: Catalog, lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,a\n")
    (tmp_path / "b.csv").write_text("name,id\nb,2\n")
    output = sync(FILES, catalog("orders", {"id": "long", "name": "string"}), lane=lane)
    assert output.rows == [row(2, id=1, name="a"), row(2, "b.csv", id=2, name="b")]


def test_a_missing_column_is_null_and_an_extra_one_is_ignored_and_both_are_announced_once(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("note,id\nn,1\n")
    output = sync(FILES, catalog("orders", {"id": "long", "name": "string"}), lane=lane)
    assert output.rows == [row(2, id=1, name=None), row(2, "b.csv", id=1, name=None)]
    assert [e["columns"] for e in events(caplog, "columns_missing")] == [("name",)]
    assert [e["columns"] for e in events(caplog, "columns_ignored")] == [("note",)]


def test_a_missing_required_column_is_an_error_with_a_guess(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Id,name\n1,a\n")
    with pytest.raises(TapError, match=r"a.csv: has no column 'id' \(did you mean 'Id'\?\)"):
        sync(FILES, catalog("orders", {"id": "long", "name": "string"}, keys=("id",)))


def test_a_file_that_has_none_of_the_columns_is_an_error(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;name\n1;a\n")
    with pytest.raises(TapError, match=r"none of its columns \(id;name\)"):
        sync(FILES, catalog("orders", {"id": "long", "name": "string"}))


def test_a_name_that_stands_twice_is_an_error_where_it_matters(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,id,x,x\n1,a,2,,\n")
    with pytest.raises(TapError, match=r"2 columns are called 'id' \(1, 3\)"):
        sync(FILES, catalog("orders", {"id": "long", "name": "string"}))
    assert sync(FILES, catalog("orders", {"name": "string"})).column("name") == ["a"]


def test_deselected_columns_are_not_sent(sync: Sync, catalog: Catalog, lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TEXT)
    chosen = catalog("orders", ORDERS, keys=("id",))
    for name in ("id", "amount", "at"):
        chosen["streams"][0]["metadata"].append({"breadcrumb": ["properties", name], "metadata": {"selected": False}})
    output = sync(FILES, chosen, lane=lane)
    assert set(output.schema["properties"]) == {"id", "name", "_sdc_source_file", "_sdc_source_lineno"}
    assert output.rows[0] == row(2, id=1, name="Ann")


def test_deselected_streams_are_not_read(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(TEXT)
    chosen = catalog("orders", ORDERS, metadata=[{"breadcrumb": [], "metadata": {"selected": False}}])
    assert {m["type"] for m in sync(FILES, chosen).messages} <= {"STATE"}


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\n\n"])
def test_an_empty_file_is_announced_and_has_no_rows(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path, data: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    output = sync(FILES, catalog("orders", ORDERS), lane=lane)
    assert output.rows == []
    assert output.state["bookmarks"]["orders"]["files"]["a.csv"]["records"] == 0
    assert [e["file"] for e in events(caplog, "file_empty")] == ["a.csv"]


def test_a_header_alone_is_a_file_without_rows(sync: Sync, catalog: Catalog, lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,amount,at\n")
    assert sync(FILES, catalog("orders", ORDERS), lane=lane).rows == []


@pytest.mark.parametrize(
    ("encoding", "setting"),
    [
        ("utf-8", None), ("utf-8-sig", None), ("utf-16", None), ("utf-16", "latin-1"), ("utf-16-le", "utf-16"),
        ("utf-32", None), ("latin-1", "latin-1"), ("cp1252", "cp1252"), ("latin-1", "auto"), ("utf-8", "auto"),
        ("utf-16-be", "auto"), ("utf-16-le", "auto"), ("shift_jis", "shift_jis"),
    ],
)  # fmt: skip
def test_encodings_are_read_and_a_byte_order_mark_wins(
    sync: Sync, catalog: Catalog, tmp_path: Path, encoding: str, setting: str | None
) -> None:
    name = "日本" if encoding == "shift_jis" else "Zoë"
    (tmp_path / "a.csv").write_bytes(f"id,name\n1,{name}\n".encode(encoding))
    config = {**FILES, **({"encoding": setting} if setting else {})}
    assert sync(config, catalog("orders", {"id": "long", "name": "string"})).column("name") == [name]


def test_utf_16_that_nobody_announced_is_an_error_with_the_remedy(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,name\n1,a\n".encode("utf-16-le"))
    with pytest.raises(TapError, match="set encoding: utf-16-le"):
        sync(FILES, catalog("orders", {"id": "long", "name": "string"}))


def test_bytes_that_another_encoding_does_not_know_reject_their_record_alone(
    sync: Sync, catalog: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,name\n1,\x81\n2,b\n")
    output = sync({**FILES, "encoding": "cp1252"}, catalog("orders", {"id": "long", "name": "string"}))
    assert output.column("name") == ["b"]
    assert [r["rule"] for r in output.rejects] == ["csv.undecodable"]


def test_half_a_utf_16_character_is_an_error(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id,name\n1,a\n".encode("utf-16") + b"x")
    with pytest.raises(TapError, match=r"a.csv: is not utf-16"):
        sync(FILES, catalog("orders", {"id": "long", "name": "string"}))


def test_gzip_is_read_by_its_extension(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"id,name\n1,a\n") + gzip.compress(b"2,b\n"))
    config = {"files": [{"path": "*.gz", "object": "orders"}]}
    assert sync(config, catalog("orders", {"id": "long", "name": "string"})).column("id") == [1, 2]


@pytest.mark.parametrize("damage", [lambda b: b[:-9], lambda b: b[:12] + b"\xff" + b[13:], lambda b: b"id,name\n"])
def test_damaged_gzip_is_an_error(sync: Sync, catalog: Catalog, tmp_path: Path, damage: Any) -> None:
    (tmp_path / "a.csv.gz").write_bytes(damage(gzip.compress(b"id,name\n" + b"1,abcdefghij\n" * 100)))
    with pytest.raises(TapError, match=r"a.csv.gz: the gzip file is damaged"):
        sync({"files": [{"path": "a.csv.gz", "object": "orders"}]}, catalog("orders", {"id": "long"}))


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("id;name\n1;a\n", {"delimiter": ";"}),
        ("id\tname\n1\ta\n", {"delimiter": "tab"}),
        ("id,name\n1,'a'\n", {"quotechar": "'"}),
        ('id,name\n1,"a\n', {"quotechar": ""}),
        ("made by hand\n\nid,name\n1,a\n", {"header": 3}),
        ("id,name\r\n1,a\r\n", {}),
        (" id , name \n1,a\n", {}),
    ],
)
def test_dialects_for_all_files_and_for_one_entry(
    sync: Sync, catalog: Catalog, tmp_path: Path, text: str, settings: dict[str, Any]
) -> None:
    (tmp_path / "a.csv").write_bytes(text.encode())
    streams = catalog("orders", {"id": "long", "name": "string"})
    entry = {"path": "a.csv", "object": "orders"}
    expected = [row(text.count("\n"), id=1, name='"a' if settings.get("quotechar") == "" else "a")]
    assert sync({"files": [entry], **settings}, streams).rows == expected
    assert sync({"files": [{**entry, **settings}], "delimiter": "|"} if "delimiter" in settings else
                {"files": [{**entry, **settings}]}, streams).rows == expected  # fmt: skip


def test_without_a_header_columns_are_numbered_and_records_begin_at_one(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("1,a\n2,b\n")
    output = sync({**FILES, "header": False}, catalog("orders", {"c1": "long", "c2": "string"}), lane=lane)
    assert output.rows == [row(1, c1=1, c2="a"), row(2, c1=2, c2="b")]


def test_null_values_are_null_unless_quoted(sync: Sync, catalog: Catalog, lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,name\nNA,NA\n1,"NA"\n,""\n"",\n')
    config = {**FILES, "null_values": ["NA"]}
    output = sync(config, catalog("orders", {"id": "long", "name": "string"}), lane=lane)
    assert output.column("id") == [None, 1, None, None]
    assert output.column("name") == [None, "NA", "", None]


def test_several_entries_and_patterns_feed_one_stream_and_no_file_twice(
    sync: Sync, catalog: Catalog, tmp_path: Path
) -> None:
    (tmp_path / "sub" / "deep").mkdir(parents=True)
    for name in ("a.csv", "sub/b.csv", "sub/deep/c.csv", "x[1].csv"):
        (tmp_path / name).write_text("id\n1\n")
    files = [
        {"path": "a.csv", "object": "orders"},
        {"paths": ["**/*.csv", str(tmp_path / "sub/b.csv")], "stream": "orders"},
        {"path": "x[1].csv", "object": "orders"},
    ]
    output = sync({"files": files}, catalog("orders", {"id": "long"}))
    assert output.column("_sdc_source_file") == ["a.csv", "sub/b.csv", "sub/deep/c.csv", "x[1].csv"]


def test_base_path_is_where_relative_paths_and_names_begin(
    sync: Sync, catalog: Catalog, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("id\n1\n")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "b.csv"
    elsewhere.write_text("id\n2\n")
    config = {"base_path": "data", "files": [{"paths": ["*.csv", str(elsewhere)], "object": "orders"}]}
    output = sync(config, catalog("orders", {"id": "long"}))
    assert sorted(output.column("_sdc_source_file")) == sorted(["a.csv", elsewhere.as_posix()])


def test_a_file_that_is_not_there_is_an_error_and_a_pattern_without_files_is_announced(
    sync: Sync, catalog: Catalog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(TapError, match=r"gone.csv: no such file \(stream orders\)"):
        sync({"files": [{"path": "gone.csv", "object": "orders"}]}, catalog("orders", {"id": "long"}))
    assert sync(FILES, catalog("orders", {"id": "long"})).rows == []
    assert "*.csv" in events(caplog, "no_files")[0]["message"]


def test_a_directory_is_an_error_with_the_remedy(sync: Sync, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(TapError, match=r"name its files, e.g. data/\*.csv"):
        sync({"files": [{"path": "data", "object": "orders"}]}, catalog("orders", {"id": "long"}))


def test_types_that_a_csv_value_is_not_converted_to_travel_as_text(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("u,b\n6f1c,aGk=\n")
    output = sync(FILES, catalog("orders", {"u": "uuid", "b": "binary"}), lane=lane)
    assert output.rows == [row(2, u="6f1c", b="aGk=")]


def test_json_of_any_shape_is_a_text_in_a_batch_and_part_of_a_record(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text('j\n"{""k"": [1]}"\nno json\n""\nnull\n2.50\n')
    orders = catalog("orders", {"j": "string"})
    orders["streams"][0]["schema"]["properties"]["j"]["x-dativo-encoding"] = "json"
    texts = ['{"k": [1]}', '"no json"', None, None, "2.50"]
    values = [{"k": [1]}, "no json", None, None, 2.5]
    assert sync(FILES, orders, lane=lane).column("j") == (texts if lane == "arrow" else values)


def test_objects_and_arrays_with_typed_members_travel_as_records_in_either_lane(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text('id,l\n1,"[1,2]"\n2,none\n3,""\n')
    output = sync(FILES, catalog("orders", {"id": "long", "l": "list"}), lane=lane)
    assert [r["l"] for r in output.raw] == [[1, 2], "none", None]
    assert not output.batched


def test_a_stream_without_selected_columns_still_says_which_records_there_are(
    sync: Sync, catalog: Catalog, lane: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert sync(FILES, catalog("orders", {}), lane=lane).rows == [row(2)]
