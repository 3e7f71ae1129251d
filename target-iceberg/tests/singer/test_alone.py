"""Without a load plan: the SCHEMA and the settings are all there is."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from target_iceberg import lake
from target_iceberg.errors import TargetError
from target_iceberg.load_plan import LakeCatalog
from target_iceberg.singer.settings import CONFIG, from_config

if TYPE_CHECKING:
    from pathlib import Path

PROPERTIES = {
    "id": {"type": "integer", "minimum": 1, "exclusiveMaximum": 1000},
    "status": {"type": ["string", "null"], "enum": ["new", "paid", None]},
    "code": {"anyOf": [{"type": "string", "pattern": "^[A-Z]+$", "minLength": 2, "maxLength": 3}, {"type": "null"}]},
    "email": {"type": ["string", "null"], "format": "email"},
    "pieces": {"type": ["integer", "null"], "multipleOf": 5},
    "price": {"type": ["number", "null"], "exclusiveMinimum": 0},
    "tags": {
        "type": ["array", "null"],
        "items": {"type": "string", "enum": ["a", "b"]},
        "maxItems": 2,
        "uniqueItems": True,
    },
    "address": {
        "type": ["object", "null"],
        "properties": {"city": {"type": "string", "maxLength": 3}},
        "required": ["city"],
    },
    "fixed": {"const": "x"},
    "mixed": {"type": ["integer", "string", "null"], "enum": [1, "one", None]},
}
GOOD = {
    "id": 1,
    "status": "new",
    "code": "AB",
    "email": "a@b.example",
    "pieces": 10,
    "price": 0.5,
    "tags": ["a", "b"],
    "address": {"city": "Ulm"},
    "fixed": "x",
    "mixed": "one",
}


def send(
    target: Any, *records: Any, properties: Any = None, key: Any = ("id",), stream: str = "orders", **config: Any
) -> Any:
    schema = {"properties": properties or PROPERTIES, "required": ["status"]}
    messages = [{"type": "SCHEMA", "stream": stream, "schema": schema, "key_properties": list(key)}]
    messages += [r if "type" in r else {"type": "RECORD", "stream": stream, "record": r} for r in records]
    return target.send(*messages, config=config)


def table(_target: Any, address: str = "default.orders") -> Any:
    return lake.open_lake(LakeCatalog(kind="embedded", path="lake/default")).table(address)


def ids(target: Any, address: str = "default.orders") -> list[int]:
    found = table(target, address)
    return [] if found is None else sorted(found.rows(limit=10_000).to_pylist(), key=lambda r: r["id"])


@pytest.mark.parametrize(
    ("field", "bad", "rule"),
    [
        ("id", 0, "id.minimum"),
        ("id", 1000, "id.exclusiveMaximum"),
        ("status", "old", "status.enum"),
        ("code", "ab", "code.pattern"),
        ("code", "A", "code.minLength"),
        ("code", "ABCD", "code.maxLength"),
        ("email", "nobody", "email.format"),
        ("pieces", 7, "pieces.multipleOf"),
        ("price", 0, "price.exclusiveMinimum"),
        ("tags", ["c"], "tags[].enum"),
        ("tags", ["a", "b", "a"], "tags.maxItems"),
        ("tags", ["a", "a"], "tags.uniqueItems"),
        ("address", {"city": "Hamburg"}, "address.city.maxLength"),
        ("address", {}, "address.member_not_null"),
        ("fixed", "y", "fixed.enum"),
        ("mixed", 2, "mixed.enum"),
        ("id", "one", "id.type"),
        ("id", None, "id.not_null"),
    ],
)
def test_the_keywords_of_the_schema_are_the_contract(target: Any, field: str, bad: Any, rule: str) -> None:
    done = send(target, GOOD, {**GOOD, "id": 2, field: bad}, violations="warn")
    assert done.code == 0, done.stderr
    assert [r["id"] for r in ids(target)] == [1]
    assert [r["rule"] for r in table(target, "default.orders__rejects").rows(limit=10).to_pylist()] == [
        f"orders.{rule}"
    ]
    assert send(target, {**GOOD, "id": 3}, {**GOOD, "id": 4, field: bad}).code == 2  # strict is the default


def test_null_and_absence_break_no_keyword(target: Any) -> None:
    assert send(target, {"id": 1, "status": None}, {**dict.fromkeys(PROPERTIES), "id": 2}).code == 0
    assert [r["id"] for r in ids(target)] == [1, 2]


def test_settings_name_table_namespace_and_shape(target: Any) -> None:
    done = send(
        target,
        *({**GOOD, "id": i} for i in (3, 1, 2)),
        stream="public-orders",
        default_target_schema="raw.shop",
        table_template="src_{stream}",
        partition_by={"public-orders": ["bucket(4, id)"], "others": ["day(nothing)"]},
        add_record_metadata=True,
        parquet_target_size_mb=1,
    )
    assert done.code == 0, done.stderr
    found = table(target, "raw.shop.src_public-orders")
    rows = found.rows(limit=10).to_pylist()
    assert sorted(r["id"] for r in rows) == [1, 2, 3]
    assert all(r["_sdc_received_at"] for r in rows)
    assert found.partitioning == ["bucket[4](id)"]


def test_hard_delete_needs_no_plan(target: Any) -> None:
    properties = {**PROPERTIES, "_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"}}
    assert send(target, GOOD, {**GOOD, "id": 2}, properties=properties, hard_delete=True).code == 0
    assert (
        send(target, {"id": 1, "_sdc_deleted_at": "2026-01-01T00:00:00Z"}, properties=properties, hard_delete=True).code
        == 0
    )
    assert [r["id"] for r in ids(target)] == [2]


@pytest.mark.parametrize(
    ("method", "expected"), [(None, [1, 2]), ("append-only", [1, 1, 2]), ("upsert", [1, 2]), ("overwrite", [1, 2])]
)
def test_load_methods(target: Any, method: Any, expected: list[int]) -> None:
    assert send(target, GOOD, load_method=method).code == 0
    assert send(target, GOOD, {**GOOD, "id": 2}, load_method=method).code == 0
    assert [r["id"] for r in ids(target)] == expected


def test_append_only_keeps_every_version_of_a_row_and_still_wants_its_key(target: Any) -> None:
    assert send(target, GOOD, {**GOOD, "status": "paid"}, load_method="append-only").code == 0
    assert [r["status"] for r in ids(target)] == ["new", "paid"]
    assert send(target, {**GOOD, "id": None}, load_method="append-only").code == 2


def test_a_stream_without_key_is_appended(target: Any) -> None:
    for _ in range(2):
        assert send(target, GOOD, key=()).code == 0
    assert [r["id"] for r in ids(target)] == [1, 1]


def test_publish_every_s_publishes_in_rounds(target: Any) -> None:
    log = (target.root / "stderr").open("w+")
    process = subprocess.Popen(
        target.command({"publish_every_s": 1}),
        cwd=target.root,
        env=target.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        bufsize=1,
    )
    assert process.stdin
    assert process.stdout
    with process:
        schema = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": PROPERTIES}, "key_properties": ["id"]}
        process.stdin.write(json.dumps(schema) + "\n")
        sent, left = 0, threading.Thread(target=process.stdout.readline)
        left.start()
        while left.is_alive():  # until the first STATE leaves, which it does while more could come
            sent += 1
            process.stdin.write(
                json.dumps({"type": "RECORD", "stream": "orders", "record": {**GOOD, "id": sent}}) + "\n"
            )
            process.stdin.write(json.dumps({"type": "STATE", "value": {"i": sent}}) + "\n")
            left.join(0.1)
        assert ids(target)
        process.stdin.close()
        process.stdout.read()
    with log:
        assert process.returncode == 0, (target.root / "stderr").read_text()
    assert len(ids(target)) == sent


def test_all_settings_that_contradict_each_other_are_named_at_once() -> None:
    config = {"table_template": "orders", "load_method": "overwrite", "publish_every_s": 5}
    with pytest.raises(TargetError, match=r"table_template .*publish_every_s") as e:
        from_config(config)
    assert e.value.failure_class == "configuration"
    with pytest.raises(TargetError, match="hard_delete"):
        from_config({"load_method": "append-only", "hard_delete": True})


def test_a_catalog_may_stand_in_the_environment_alone() -> None:
    one = {"PYICEBERG_CATALOG__PROD__URI": "http://x", "PYICEBERG_CATALOG__PROD__S3__ENDPOINT": "y"}
    assert from_config({}, one).catalog == LakeCatalog(kind="pyiceberg", name="prod")
    with pytest.raises(TargetError, match="catalog_name"):
        from_config({}, {**one, "PYICEBERG_CATALOG__DEV__URI": "http://z"})
    assert from_config({}, {}).catalog.kind == "embedded"


@pytest.mark.parametrize(
    ("catalog", "said"),
    [
        ({"type": "sq"}, "'sq' is not a valid CatalogType"),
        ({"warehouse": "file:///x"}, "URI missing"),
        ({"type": "sql", "uri": "nonsense", "warehouse": "file:///x"}, "Could not parse"),
        ({"type": "sql", "uri": "oracle://u:hidden@h/d", "warehouse": "file:///x"}, "support not installed"),
        ({"type": "glue"}, "glue support not installed"),
        ({"type": "sql", "uri": "sqlite://"}, "No default path"),
        ({"type": "sql", "uri": "sqlite://", "warehouse": "odd://x"}, "odd"),
    ],
)
def test_a_catalog_that_cannot_be_made_is_a_mistake_in_the_settings(target: Any, catalog: Any, said: str) -> None:
    done = send(target, GOOD, catalog=catalog)
    assert done.code == 2
    assert said in done.stderr
    assert '"failure_class": "configuration"' in done.stderr
    assert "hidden" not in done.stderr


@pytest.mark.parametrize("types", [("integer", ["null", "integer"]), (["null", "integer"], "integer")])
def test_a_key_may_be_announced_as_nullable_and_not(target: Any, types: Any) -> None:
    for n, kind in enumerate((*types, *types)):
        done = send(
            target, {"id": 1, "status": f"s{n}"}, properties={"id": {"type": kind}, "status": {"type": "string"}}
        )
        assert done.code == 0, done.stderr
    assert ids(target) == [{"id": 1, "status": "s3"}]


def test_a_key_may_change(target: Any) -> None:
    properties = {"id": {"type": "integer"}, "status": {"type": "string"}, "code": {"type": ["null", "string"]}}
    for key, code in ((["id"], "a"), (["code"], "b"), (["id", "code"], "c"), (["id"], "d")):
        nullable = {**properties, "id": {"type": "integer" if "id" in key else ["null", "integer"]}}
        done = send(target, {"id": 1, "status": "s", "code": code}, properties=nullable, key=key)
        assert done.code == 0, done.stderr


def test_every_setting_is_described() -> None:
    for name, schema in CONFIG["properties"].items():
        assert schema["description"].endswith("."), name
        assert schema["title"], name


# -- batches --------------------------------------------------------------------------------------------------------------


def batch(target: Any, encoding: dict[str, Any], *files: Path, **config: Any) -> Any:
    message = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": [f.as_uri() for f in files]}
    return send(target, message, **config)


def jsonl(file: Path, *records: Any) -> Path:
    lines = b"".join(r if isinstance(r, bytes) else json.dumps(r).encode() + b"\n" for r in records)
    file.write_bytes(gzip.compress(lines) if file.suffix == ".gz" else lines)
    return file


@pytest.mark.parametrize("compression", ["gzip", "none", None])
def test_a_batch_of_json_lines_is_the_same_as_records(target: Any, tmp_path: Path, compression: str | None) -> None:
    suffix = ".json.gz" if compression == "gzip" else ".json"
    first = jsonl(tmp_path / f"a{suffix}", GOOD, b"\n", {**GOOD, "id": 2}, b" \r\n")
    second = jsonl(tmp_path / f"b{suffix}", json.dumps({**GOOD, "id": 3}).encode())  # no newline at the end
    done = batch(target, {"format": "jsonl", "compression": compression}, first, second)
    assert done.code == 0, done.stderr
    by_batch = ids(target)
    assert [r["id"] for r in by_batch] == [1, 2, 3]
    assert first.exists()  # it belongs to whoever wrote it
    assert send(target, *({**GOOD, "id": i} for i in (1, 2, 3)), load_method="overwrite").code == 0
    assert ids(target) == by_batch


def test_a_bad_line_of_a_batch_is_a_reject(target: Any, tmp_path: Path) -> None:
    lines = jsonl(tmp_path / "a.json.gz", GOOD, b'{"id": 2, "stat\n', {**GOOD, "id": 0})
    done = batch(target, {"format": "jsonl", "compression": "gzip"}, lines, violations="warn")
    assert done.code == 0, done.stderr
    assert [r["id"] for r in ids(target)] == [1]
    rules = {r["rule"] for r in table(target, "default.orders__rejects").rows(limit=10).to_pylist()}
    assert rules == {"orders.record.json", "orders.id.minimum"}


def test_a_batch_of_parquet(target: Any, tmp_path: Path) -> None:
    rows = pa.Table.from_pylist(
        [{k: v for k, v in GOOD.items() if k != "mixed"}, {"id": 2, "status": "paid", "fixed": "x"}]
    )
    pq.write_table(rows, tmp_path / "a.parquet")
    done = batch(target, {"format": "parquet", "compression": "snappy"}, tmp_path / "a.parquet")
    assert done.code == 0, done.stderr
    first, second = ids(target)
    assert (first["tags"], first["address"], second["status"]) == (["a", "b"], {"city": "Ulm"}, "paid")


@pytest.mark.parametrize(
    ("encoding", "content", "message"),
    [
        ({"format": "jsonl", "compression": "gzip"}, gzip.compress(b'{"id": 1}\n' * 1000)[:-20], "cannot be read"),
        ({"format": "jsonl", "compression": "gzip"}, b"no gzip", "cannot be read"),
        ({"format": "jsonl", "compression": "gzip"}, None, "cannot be read"),
        ({"format": "parquet"}, b"no parquet", "cannot be read"),
        ({"format": "avro"}, b"", "avro is not understood"),
        ({"format": "jsonl", "compression": "lzma"}, b"", "jsonl with lzma is not understood"),
    ],
    ids=["cut gzip", "no gzip", "no file", "no parquet", "avro", "lzma"],  # gzip writes the time into what it makes
)
def test_a_batch_that_cannot_be_read_publishes_nothing(
    target: Any, tmp_path: Path, encoding: dict[str, Any], content: bytes | None, message: str
) -> None:
    file = tmp_path / "a.bin"
    if content is not None:
        file.write_bytes(content)
    done = batch(target, encoding, file)
    assert done.code == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert ids(target) == []


def test_rejects_are_told_even_when_nothing_else_is(target: Any) -> None:
    schema = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": PROPERTIES}, "key_properties": ["id"]}
    record = {"type": "RECORD", "stream": "orders", "record": {**GOOD, "id": 0}}
    done = target.send(schema, record, config={"violations": "warn"}, DATIVO_LOG_FORMAT="text")
    assert done.code == 0
    assert "default.orders: 1 of 1 records rejected: orders.id.minimum 1 times" in done.stderr
    assert "rejected records are in default.orders__rejects" in done.stderr


def test_a_version_that_is_activated_before_its_schema_takes_no_rows_away(target: Any) -> None:
    before = {"type": "ACTIVATE_VERSION", "stream": "orders", "version": 3}
    schema = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": PROPERTIES}, "key_properties": ["id"]}
    record = {"type": "RECORD", "stream": "orders", "record": GOOD, "version": 2}
    config = {"add_record_metadata": True}
    done = target.send(before, schema, {**before, "version": 2}, record, config=config, DATIVO_LOG_FORMAT="text")
    assert done.code == 0, done.stderr
    assert "ACTIVATE_VERSION came before the SCHEMA" in done.stderr
    assert [r["id"] for r in ids(target)] == [1]


def test_data_before_its_schema_is_the_taps_mistake(target: Any) -> None:
    done = target.send({"type": "RECORD", "stream": "orders", "record": GOOD}, DATIVO_LOG_FORMAT="text")
    assert done.code == 2
    assert "ERROR stream orders: data came before its SCHEMA failure_class=source" in done.stderr


@pytest.mark.parametrize("key", [("number",), ("id", "number")])
def test_the_key_may_become_a_column_that_the_table_has_not_yet(target: Any, key: tuple[str, ...]) -> None:
    number = {**PROPERTIES, "number": {"type": "integer"}}
    assert send(target, GOOD, add_record_metadata=True).code == 0
    for _ in range(2):
        done = send(target, {**GOOD, "number": 7}, properties=number, key=key, add_record_metadata=True)
        assert done.code == 0, done.stderr
    assert {(r["id"], r["number"]) for r in ids(target)} == {(1, None), (1, 7)}
    assert len(ids(target)) == 2


@pytest.mark.parametrize("hard", [True, False])
def test_versions_may_come_to_a_table_that_had_none_and_with_another_key(target: Any, hard: bool) -> None:
    number = {**PROPERTIES, "number": {"type": ["integer", "null"]}}
    assert send(target, GOOD).code == 0
    more: Any = {"properties": number, "add_record_metadata": True, "hard_delete": hard}
    first = {"type": "RECORD", "stream": "orders", "record": {**GOOD, "id": 2, "number": 1}, "version": 1}
    assert send(target, first, **more).code == 0
    second = {"type": "RECORD", "stream": "orders", "record": {**GOOD, "id": 3, "number": 2}, "version": 2}
    activate = {"type": "ACTIVATE_VERSION", "stream": "orders", "version": 2}
    done = send(target, second, activate, key=("number",), **more)
    assert done.code == 0, done.stderr
    alive = [r["id"] for r in ids(target) if r["_sdc_deleted_at"] is None]
    assert alive == [1, 3]  # a row without a version stays
    assert len(ids(target)) == (2 if hard else 3)


def test_a_rest_catalog_of_which_the_environment_says_the_type_is_opened(tmp_path: Path) -> None:
    said = {"PYICEBERG_CATALOG__THEIRS__TYPE": "rest", "PYICEBERG_CATALOG__THEIRS__URI": "http://127.0.0.1:9"}
    (tmp_path / "config.json").write_text("{}")
    done = subprocess.run(
        [sys.executable, "-c", "from target_iceberg.singer.main import main; main()", "--config", "config.json"],
        input='{"type":"SCHEMA","stream":"d","schema":{"properties":{"id":{"type":"integer"}}},"key_properties":["id"]}\n'
        '{"type":"RECORD","stream":"d","record":{"id":1}}\n',
        env={**os.environ, **said},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "does not answer as it should" in done.stderr, done.stderr  # it was asked, and nobody is there
    assert "127.0.0.1" in done.stderr
