"""Any bytes: refused with a reason or decoded, each record once."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

spec = importlib.util.spec_from_file_location("fuzz_harness", Path(__file__).with_name("harness.py"))
assert spec is not None
assert spec.loader is not None
harness: Any = importlib.util.module_from_spec(spec)
spec.loader.exec_module(harness)
HARNESS = harness.Harness()
EXAMPLES = int(os.environ.get("EXAMPLES", "300"))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20) | st.dates().map(str),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([c.name for c in harness.COLUMNS]) | st.text(max_size=4)
RECORDS = st.dictionaries(NAMES, JSON, max_size=6).map(
    lambda r: json.dumps({"type": "RECORD", "stream": "s", "record": r}).encode() + b"\n"
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Singer lines with pieces cut out, put in or repeated."""
    parts = draw(st.lists(st.sampled_from(harness.SEEDS) | RECORDS, min_size=1, max_size=8))
    data = bytearray(b"".join(parts))
    for _ in range(draw(st.integers(0, 4))):
        at, size = draw(st.integers(0, len(data))), draw(st.integers(0, 40))
        how = draw(st.sampled_from(["cut", "insert", "repeat", "flip"]))
        if how == "cut":
            del data[at : at + size]
        elif how == "insert":
            data[at:at] = draw(
                st.binary(max_size=10) | st.sampled_from([b"\n", b'"', b"{", b"}", b"\\", b"\x00", b"\xff"])
            )
        elif how == "repeat":
            data[at:at] = data[at : at + size]
        elif at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(data)


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(mutated(), st.integers(1, 300))
def test_bytes_are_refused_with_a_reason_or_decoded_each_record_once(data: bytes, block: int) -> None:
    harness.survives(HARNESS, data, block)


@settings(max_examples=EXAMPLES)
@given(st.lists(RECORDS, min_size=1, max_size=20), st.integers(1, 300))
def test_where_blocks_end_makes_no_difference(lines: list[bytes], block: int) -> None:
    data = b"".join(lines)
    assert HARNESS.feed(data, block) == HARNESS.feed(data, len(data)) == (len(lines), HARNESS.feed(data, 64)[1])
