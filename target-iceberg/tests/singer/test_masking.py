"""Masked values are on no disk: not in data files, rejects, reports, journals or logs."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import msgspec
import pytest

from target_iceberg.load_plan import Column, Rule

KEY = {"MASK_KEY": "s3cr3t-of-acme"}
SECRETS = {
    "email": "anna@example.com",
    "phone": "+49 731 123456",
    "city": "Ulm-Wiblingen",
    "note": "knows-the-king",
    "iban": "DE02120300000000202051",
    "tag": "very-private-tag",
}
COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="email", type="string", classification="PII", mask="hash"),
    Column(name="phone", type="string", classification="PII", mask="truncate"),
    Column(name="iban", type="string", classification="SECRET", mask="redact"),
    Column(name="note", type="string", classification="SECRET", mask="null"),
    Column(name="age", type="long", classification="SECRET", mask="null"),
    Column(
        name="address",
        type="struct",
        fields=(
            Column(name="city", type="string", classification="PII", mask="redact"),
            Column(name="zip", type="string"),
        ),
    ),
    Column(
        name="tags",
        type="list",
        fields=(Column(name="element", type="string", classification="PII", mask="truncate"),),
    ),
)


@pytest.fixture
def masked(target: Any) -> Any:
    rules = (Rule(name="orders.email.format", kind="format", columns=("email",), argument="email"),)
    stream = target.stream_plan(columns=COLUMNS, rules=rules, replace_files=False)
    target.plan = msgspec.structs.replace(target.job_plan(stream, violations="warn"), mask_key_env="MASK_KEY")
    return target


def person(i: int, **more: Any) -> dict[str, Any]:
    return {
        "id": i,
        "email": SECRETS["email"],
        "phone": SECRETS["phone"],
        "iban": SECRETS["iban"],
        "note": SECRETS["note"],
        "age": 41,
        "address": {"city": SECRETS["city"], "zip": "89079"},
        "tags": [SECRETS["tag"], None],
        **more,
    }


def files_with_secrets(target: Any) -> list[str]:
    found = []
    for path in target.root.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            found += [f"{path}: {name}" for name, value in SECRETS.items() if value.encode() in raw]
    return found


def test_each_mask_does_what_it_says_and_rules_see_the_value_itself(masked: Any) -> None:
    nothing = dict.fromkeys(SECRETS.keys() - {"city", "tag"})
    records = [person(1), person(2, **nothing, address=None, tags=None), person(3, email="no address")]
    done = masked.run(records, 1, **KEY)
    assert done.report.outcome == "partial", done.stderr
    first, second = sorted(masked.rows(), key=lambda r: r["id"])
    assert first == {
        "id": 1,
        "email": hmac.new(KEY["MASK_KEY"].encode(), SECRETS["email"].encode(), hashlib.sha256).hexdigest(),
        "phone": "+49 ",
        "iban": "***",
        "note": None,
        "age": None,
        "address": {"city": "***", "zip": "89079"},
        "tags": ["very", None],
    }
    assert second == {**dict.fromkeys(first), "id": 2}  # NULL stays NULL
    assert done.report.streams[0].rejected == 1


@pytest.mark.parametrize("stage", ["checkpoint_written", "before_commit", None])
def test_no_file_holds_a_masked_value(masked: Any, stage: str | None) -> None:
    bad = [
        person(4, email="anna@example.com with more"),
        person(5, id=None),
        b'{"type": "RECORD", "stream": "orders", "record": {"email": "anna@example.com", "id": x}}\n',
    ]
    crash = {"DATIVO_TEST_CRASH_AT": stage} if stage else {}
    state = {"type": "STATE", "value": {"bookmarks": {"orders": 1}}}
    done = masked.run([person(1), *bad, state, person(2)], 2, **KEY, DATIVO_CHECKPOINT_EVERY_S="0", **crash)
    assert files_with_secrets(masked) == []
    for name, value in {**SECRETS, "key": KEY["MASK_KEY"]}.items():
        assert value not in done.stderr, name
    if stage is None:
        assert masked.ids() == [1, 2]
        assert len(masked.rows("shop.orders__rejects")) == 3


def test_a_batch_is_masked_too(masked: Any, tmp_path: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "in").mkdir()
    file = tmp_path / "in" / "a.parquet"
    pq.write_table(pa.Table.from_pylist([person(1)]), file)
    message = {"type": "BATCH", "stream": "orders", "encoding": {"format": "parquet"}, "manifest": [file.as_uri()]}
    assert masked.run([message], 1, **KEY).code == 0
    file.unlink()
    assert masked.rows()[0]["iban"] == "***"
    assert files_with_secrets(masked) == []


def test_a_hashed_key_finds_its_rows_again(target: Any) -> None:
    columns = (
        Column(name="email", type="string", required=True, classification="PII", mask="hash"),
        Column(name="n", type="long"),
    )
    stream = target.stream_plan(columns=columns, key=("email",), rules=(), replace_files=False)
    target.plan = msgspec.structs.replace(target.job_plan(stream), mask_key_env="MASK_KEY")
    for n in (1, 2):
        assert target.run([{"email": SECRETS["email"], "n": n}], n, **KEY).code == 0
    assert [r["n"] for r in target.rows()] == [2]


def test_without_the_key_nothing_is_loaded(masked: Any) -> None:
    done = masked.run([person(1)], 1)
    assert done.code == 2
    assert "MASK_KEY" in done.stderr
    assert "secrets/acme/" in done.stderr
    assert masked.rows() == []
