"""Singer messages, Arrow batches and load plans for the benchmarks of the target, the same bytes each time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.json as pj

from target_iceberg import load_plan
from target_iceberg.load_plan import Column, LakeCatalog, LoadPlan, Rejects, Rule, StreamPlan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STEP = 10_000
COLUMNS = (
    Column(name="id", type="long", required=True),
    Column(name="customer_id", type="string", required=True),
    Column(name="email", type="string", required=True),
    Column(name="amount", type="decimal(18,2)"),
    Column(name="weight", type="double"),
    Column(name="status", type="string"),
    Column(name="order_date", type="string"),
    Column(name="created_at", type="timestamptz"),
    Column(name="is_paid", type="boolean"),
    Column(
        name="address",
        type="struct",
        fields=(Column(name="city", type="string"), Column(name="country", type="string")),
    ),
    Column(name="note", type="string"),
)
RULES = (
    Rule(name="status.enum", kind="enum", columns=("status",), argument=["new", "paid", "shipped", "cancelled"]),
    Rule(name="email.pattern", kind="pattern", columns=("email",), argument="@"),
    Rule(name="amount.minimum", kind="minimum", columns=("amount",), argument=0),
    Rule(name="amount.maximum", kind="maximum", columns=("amount",), argument=10**9),
    Rule(name="customer_id.length", kind="max_length", columns=("customer_id",), argument=32),
    Rule(name="order_date.format", kind="format", columns=("order_date",), argument="date"),
    Rule(name="id.unique", kind="unique", columns=("id",)),
)
"""With the three columns that must hold a value: ten rules."""


def plan(
    *streams: str,
    key: bool = False,
    violations: Any = "warn",
    rules: bool = True,
    columns: tuple[Column, ...] = COLUMNS,
    target_file_size_bytes: int = 128 << 20,
) -> LoadPlan:
    """A load plan of streams of orders."""
    plans = [
        StreamPlan(
            stream=name,
            namespace=("bench",),
            table=name,
            columns=columns,
            target_file_size_bytes=target_file_size_bytes,
            key=("id",) if key else (),
            rules=RULES if rules else (),
            write_mode="upsert" if key else "append",
            adopt=True,
            at_least_once=True,
            fingerprint="bench",
        )
        for name in streams or ("orders",)
    ]
    return LoadPlan(
        tenant="t", job="j", state_id="dev:a-to-b", tap="tap-bench", catalog=LakeCatalog(kind="embedded", path="lake"),
        streams=tuple(plans), rejects=Rejects(violations=violations), state_dir="state",
    )  # fmt: skip


def write_plan(directory: Path, the_plan: LoadPlan) -> None:
    """plan.json and config.json in a directory."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "plan.json").write_bytes(load_plan.dump(the_plan))
    (directory / "config.json").write_text('{"load_plan": "plan.json"}')


def records(rows: int, bad_every: int = 0, spaced: bool = False) -> Iterator[list[bytes]]:
    """JSON of the records, STEP at a time: about 334 bytes with the envelope, a fifth of the notes null."""
    rng = np.random.default_rng(11)
    cities = ["Ulm", "München", "São Paulo", "東京", "Reykjavík"]
    statuses = ["new", "paid", "shipped", "cancelled"]
    words = ["gift wrap, please", "zweiter Versuch, bitte klingeln", "leave at the door", "fragile ✓"]
    separators = (", ", ": ") if spaced else (",", ":")
    for start in range(0, rows, STEP):
        n = min(STEP, rows - start)
        amounts, weights = rng.integers(100, 10**7, n), rng.random(n)
        moments = (np.datetime64("2025-01-01T00:00:00", "ms") + rng.integers(0, 3 * 10**10, n)).astype(str)
        picks, nulls = rng.integers(0, 20, n), rng.random(n) < 0.2
        out = []
        for i in range(n):
            number, p = start + i, int(picks[i])
            record = {
                "id": number,
                "customer_id": f"cus_{number * 7919 % 100_003:014d}",
                "email": f"user{number % 50_021}@example.com",
                "amount": f"{amounts[i] // 100}.{amounts[i] % 100:02d}",
                "weight": float(weights[i]),
                "status": "lost" if bad_every and number % bad_every == bad_every - 1 else statuses[p % 4],
                "order_date": str(moments[i])[:10],
                "created_at": f"{moments[i]}Z",
                "is_paid": p > 9,
                "address": {"city": cities[p % 5], "country": "DE"},
                "note": None if nulls[i] else words[p % 4],
            }
            out.append(json.dumps(record, ensure_ascii=False, separators=separators).encode())
        yield out


def messages(path: Path, rows: int, streams: int = 1, **options: Any) -> None:
    """A run of a launcher: start, SCHEMA, RECORDs with a STATE every 10,000, end."""
    names = [f"orders{i}" for i in range(streams)] if streams > 1 else ["orders"]
    schema = {"properties": {c.name: {} for c in COLUMNS}}
    partial = path.with_suffix(".partial")
    with partial.open("wb") as f:
        f.write(b'{"type":"DATIVO_START","run":"r","state":{}}\n')
        for name in names:
            f.write(
                json.dumps({"type": "SCHEMA", "stream": name, "schema": schema, "key_properties": ["id"]}).encode()
                + b"\n"
            )
        heads = [f'{{"type":"RECORD","stream":"{name}","record":'.encode() for name in names]
        at = 0
        for part in records(rows, **options):
            f.write(b"".join(heads[(at + i) % streams] + r + b"}\n" for i, r in enumerate(part)))
            at += len(part)
            marks = {name: {"replication_key_value": at} for name in names}
            f.write(json.dumps({"type": "STATE", "value": {"bookmarks": marks}}).encode() + b"\n")
        f.write(b'{"type":"DATIVO_END"}\n')
    partial.replace(path)


def wide_plan(columns: int) -> LoadPlan:
    """A stream of so many columns: integers, text and doubles in turn."""
    types = ("long", "string", "double")
    return plan(rules=False, columns=tuple(Column(name=f"c{i}", type=types[i % 3]) for i in range(columns)))


def wide_messages(path: Path, rows: int, columns: int) -> None:
    """Records of so many columns."""
    rng = np.random.default_rng(7)
    partial = path.with_suffix(".partial")
    with partial.open("w") as f:
        f.write('{"type":"DATIVO_START","run":"r","state":{}}\n')
        head = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": {}}, "key_properties": []}
        f.write(json.dumps(head) + "\n")
        for _ in range(rows):
            numbers = rng.integers(0, 10**6, columns).tolist()
            record = {f"c{i}": n if i % 3 == 0 else f"text {n}" if i % 3 == 1 else n / 7 for i, n in enumerate(numbers)}
            f.write(json.dumps({"type": "RECORD", "stream": "orders", "record": record}, separators=(",", ":")) + "\n")
        f.write('{"type":"STATE","value":{"bookmarks":{"orders":1}}}\n{"type":"DATIVO_END"}\n')
    partial.replace(path)


def huge_message(path: Path, size: int) -> None:
    """One record with a text of so many bytes among small ones."""
    schema = {"type": "SCHEMA", "stream": "orders", "schema": {"properties": {}}, "key_properties": []}
    lines: list[dict[str, Any]] = [{"type": "DATIVO_START", "run": "r", "state": {}}, schema]
    texts = ["small", "x" * size, "small"]
    lines += [{"type": "RECORD", "stream": "orders", "record": {"c0": 1, "c1": text}} for text in texts]
    lines += [{"type": "STATE", "value": {"bookmarks": {"orders": 1}}}, {"type": "DATIVO_END"}]
    path.write_text("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def batches(directory: Path, rows: int) -> Path:
    """The same records as Arrow IPC files of 100,000 rows, and the messages that name them."""
    directory.mkdir(parents=True, exist_ok=True)
    schema = pa.schema(
        [
            ("id", pa.int64()), ("customer_id", pa.string()), ("email", pa.string()), ("amount", pa.decimal128(18, 2)),
            ("weight", pa.float64()), ("status", pa.string()), ("order_date", pa.string()),
            ("created_at", pa.timestamp("us", "UTC")), ("is_paid", pa.bool_()),
            ("address", pa.struct([("city", pa.string()), ("country", pa.string())])), ("note", pa.string()),
        ]
    )  # fmt: skip
    options = pj.ParseOptions(explicit_schema=schema)
    parts: list[pa.Table] = []
    lines = [b'{"type":"DATIVO_START","run":"r","state":{}}']
    head = {"properties": {c.name: {} for c in COLUMNS}}
    lines.append(json.dumps({"type": "SCHEMA", "stream": "orders", "schema": head, "key_properties": ["id"]}).encode())

    def flush() -> None:
        file = directory / f"part-{len(lines):04d}.arrow"
        table = pa.concat_tables(parts).combine_chunks()
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        message = {
            "type": "BATCH",
            "stream": "orders",
            "encoding": {"format": "arrow"},
            "manifest": [file.as_uri()],
        }
        lines.append(json.dumps(message).encode())
        parts.clear()

    for part in records(rows):
        parts.append(pj.read_json(pa.BufferReader(b"\n".join(part)), parse_options=options))
        if len(parts) == 10:
            flush()
    if parts:
        flush()
    lines += [b'{"type":"STATE","value":{"bookmarks":{"orders":1}}}', b'{"type":"DATIVO_END"}']
    path = directory / "messages.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
