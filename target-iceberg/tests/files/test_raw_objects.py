"""Objects that need no Parquet: CSV, lines of JSON, documents; where they go, and what values may not do."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_iceberg import path_pattern
from target_iceberg.load_plan import Column

if TYPE_CHECKING:
    from pathlib import Path

    from target_iceberg.load_plan import StreamPlan

COLUMNS = (
    Column(name="doc_id", type="string", required=True),
    Column(name="title", type="string"),
    Column(name="body", type="string"),
    Column(name="score", type="decimal(10,2)"),
    Column(name="at", type="timestamptz"),
    Column(name="tags", type="list", fields=(Column(name="element", type="string"),)),
    Column(name="extra", type="string", encoding="json"),
)
DOC = {
    "doc_id": "a-1",
    "title": "Hello: world",
    "body": 'two\nlines, "quoted"',
    "score": "1.50",
    "at": "2026-01-02T03:04:05+02:00",
    "tags": ["x", "y"],
    "extra": {"k": [1, None]},
}
BARE = {"doc_id": "ü 2", "title": ""}


def documents(folder: Any, form: str, pattern: str | None = None, **changes: Any) -> StreamPlan:
    """A stream of documents with the rules that the compiler gives it."""
    pattern = pattern or path_pattern.DEFAULTS[form]
    rules = path_pattern.rules("docs", pattern, COLUMNS, ("doc_id",))
    values: dict[str, Any] = {
        "columns": COLUMNS,
        "key": ("doc_id",),
        "rules": rules,
        "partition_by": (),
        "ingest_date": False,
    }
    made: StreamPlan = folder.stream("docs", file_format=form, path_pattern=pattern, **{**values, **changes})
    return made


def test_lines_of_json_hold_the_values_with_their_types(each_folder: Any) -> None:
    plan = each_folder.plan(documents(each_folder, "jsonl", write_mode="append", key=(), at_least_once=True))
    done = each_folder.run(plan, [DOC, BARE], at=1)
    assert done.code == 0, done.err
    (entry,) = each_folder.manifest("docs").objects
    assert entry.path.startswith("ingest_date=")
    first, second = (json.loads(line) for line in each_folder.read(entry.path, "docs").splitlines())
    assert first == {**DOC, "score": 1.5, "at": "2026-01-02T01:04:05Z"}
    assert second == {
        "doc_id": "ü 2",
        "title": "",
        "body": None,
        "score": None,
        "at": None,
        "tags": None,
        "extra": None,
    }
    assert not [p for p in each_folder.paths("docs") if "_staged" in p]


def test_csv_tells_an_empty_text_from_no_value(folder: Any) -> None:
    plan = folder.plan(documents(folder, "csv", write_mode="append", key=(), at_least_once=True))
    assert folder.run(plan, [DOC, BARE], at=1).code == 0
    (entry,) = folder.manifest("docs").objects
    text = folder.read(entry.path, "docs").decode()
    assert text.splitlines()[0] == '"doc_id","title","body","score","at","tags","extra"'
    assert text.endswith('"ü 2","",,,,,\n')
    row = next(iter(csv.DictReader(io.StringIO(text))))
    assert row["body"] == DOC["body"]
    assert (row["score"], row["at"], row["tags"]) == ("1.50", "2026-01-02T01:04:05Z", '["x","y"]')
    assert json.loads(row["extra"]) == DOC["extra"]


def test_a_large_csv_is_objects_with_a_header_each(folder: Any) -> None:
    stream = documents(folder, "csv", write_mode="append", key=(), at_least_once=True, target_file_size_bytes=1 << 20)
    rows = [{"doc_id": f"d{n}", "body": f"{n}" * 40} for n in range(30_000)]
    assert folder.run(folder.plan(stream), rows, at=1).code == 0
    objects = folder.manifest("docs").objects
    assert len(objects) > 1
    found = [r["doc_id"] for o in objects for r in csv.DictReader(io.StringIO(folder.read(o.path, "docs").decode()))]
    assert sorted(found) == sorted(r["doc_id"] for r in rows)


def test_a_document_is_an_object_that_is_called_like_it(each_folder: Any) -> None:
    plan = each_folder.plan(documents(each_folder, "markdown_kv", "kb/{doc_id}.md"))
    assert each_folder.run(plan, [DOC, BARE], at=1).code == 0
    text = each_folder.read("kb/a-1.md", "docs").decode()
    assert text == (
        '# a-1\n\n```\ndoc_id: a-1\ntitle: Hello: world\nbody: "two\\nlines, \\"quoted\\""\nscore: 1.50\n'
        'at: 2026-01-02T01:04:05Z\ntags: ["x","y"]\nextra: "{\\"k\\":[1,null]}"\n```\n'
    )
    assert each_folder.read("kb/ü 2.md", "docs").decode() == '# ü 2\n\n```\ndoc_id: ü 2\ntitle: ""\n```\n'


def test_a_document_that_changes_gets_another_object_and_the_manifest_says_which_counts(each_folder: Any) -> None:
    plan = each_folder.plan(documents(each_folder, "markdown_kv"))
    assert each_folder.run(plan, [DOC, BARE], at=1).code == 0
    assert each_folder.run(plan, [{**DOC, "title": "New"}], at=2).code == 0
    by_name = {o.name: o.path for o in each_folder.manifest("docs").objects}
    assert set(by_name) == {"a-1.md", "ü 2.md"}
    assert by_name["a-1.md"] not in ("a-1.md", None)
    assert "title: New" in each_folder.read(by_name["a-1.md"], "docs").decode()
    assert "title: Hello" in each_folder.read("a-1.md", "docs").decode(), "an object never changes"
    assert each_folder.run(plan, [DOC], at=3).code == 0
    assert {o.path for o in each_folder.manifest("docs").objects} == {"a-1.md", "ü 2.md"}, (
        "the same bytes are the same object"
    )


@pytest.mark.parametrize(
    "value", ["../../globex/x", "/etc/x", "..", ".", ".hidden", "a/b", "a\\b", "x\n", "\x00", "", "y" * 300]
)
def test_a_value_that_would_leave_the_folder_is_a_reject(folder: Any, value: str) -> None:
    plan = folder.plan(documents(folder, "markdown_kv"))
    done = folder.run(plan, [{**DOC, "doc_id": value}, BARE], at=1)
    assert done.report.outcome == "partial", done.err
    assert [o.path for o in folder.manifest("docs").objects] == ["ü 2.md"]
    assert folder.manifest("docs__rejects").rows == 1
    assert {p for p in folder.paths("docs") if not p.startswith("_")} == {"ü 2.md"}


def test_replaced_documents_are_listed_no_longer(folder: Any) -> None:
    plan = folder.plan(documents(folder, "markdown_kv", write_mode="replace"))
    assert folder.run(plan, [DOC, BARE], at=1).code == 0
    assert folder.run(plan, [DOC], at=2, start={}).code == 0
    assert [o.path for o in folder.manifest("docs").objects] == ["a-1.md"]


def test_a_run_that_is_killed_before_its_manifest_is_completed_by_the_next(folder: Any) -> None:
    plan = folder.plan(documents(folder, "markdown_kv"))
    killed = folder.finish(folder.start(plan, [DOC, BARE], at=1, DATIVO_TEST_CRASH_AT="before_commit"))
    assert killed.code == -9
    assert folder.catalog.manifest("docs") is None
    assert folder.run(plan, [DOC, BARE], at=1).code == 0
    assert {o.path for o in folder.manifest("docs").objects} == {"a-1.md", "ü 2.md"}


def test_alone_it_needs_a_place_and_nothing_else(tmp_path: Path) -> None:
    lines = [
        {
            "type": "SCHEMA",
            "stream": "d",
            "schema": {"properties": {"id": {"type": "integer"}}},
            "key_properties": ["id"],
        },
        {"type": "RECORD", "stream": "d", "record": {"id": 1}},
        {"type": "STATE", "value": {"at": 1}},
    ]
    for config, code, says in (
        ({}, 2, "path: say where"),
        ({"path": "out", "path_pattern": "x"}, 2, "use partition_by"),
        ({"path": "out", "file_format": "jsonl", "path_pattern": "{nope}"}, 2, "{nope} is no column"),
        ({"path": "ftp://x/y"}, 2, "no such kind of store"),
        ({"path": "out", "file_format": "jsonl", "path_pattern": "{id}.jsonl"}, 0, "1 rows published"),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        done = subprocess.run(
            [sys.executable, "-c", "from target_iceberg.singer.main import main_of_files; main_of_files()", "--config", "config.json"],
            input="".join(json.dumps(x) + "\n" for x in lines),
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=False,
        )  # fmt: skip
        assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert (tmp_path / "out/d/1.jsonl").read_text() == '{"id":1}\n'


@given(st.text(max_size=40))
def test_a_pattern_that_is_let_through_stays_below_the_folder(pattern: str) -> None:
    for text in (pattern, f"{pattern}{{doc_id}}", f"a/{pattern}"):
        if path_pattern.problems(text, COLUMNS, ()):
            continue
        levels = text.split("/")
        assert all(level not in ("", ".", "..") for level in levels)
        assert not text.startswith(("/", "_", "."))
        assert "\\" not in text
