"""For tests of taps: run one inside the test process, in either lane, and decode what it writes."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import singer_arrow
from tap_kit.columns import type_of

if TYPE_CHECKING:
    from pathlib import Path

    from tap_kit.tap import Tap

ARROW = {"encoding": {"format": "arrow"}, "storage": {"root": ""}}


@dataclass
class Output:
    """What one run of the tap wrote."""

    messages: list[dict[str, Any]]
    batched: list[dict[str, Any]] = field(default_factory=list)
    """Rows that came in batch files."""
    listed: list[tuple[list[Any], list[dict[str, Any]]]] = field(default_factory=list)
    """Lists of keys that were completed: ranges and keys."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All messages of a kind."""
        return [m for m in self.messages if m["type"] == kind]

    @property
    def schema(self) -> dict[str, Any]:
        """The last one that was sent."""
        schema: dict[str, Any] = self.of("SCHEMA")[-1]["schema"]
        return schema

    @property
    def state(self) -> dict[str, Any]:
        """The last one that was sent."""
        value: dict[str, Any] = self.of("STATE")[-1]["value"]
        return value

    @property
    def rejects(self) -> list[dict[str, Any]]:
        """What the tap could not bring into the stream's shape."""
        return self.of("DATIVO_REJECT")

    @property
    def raw(self) -> list[dict[str, Any]]:
        """Records as they stand in RECORD lines."""
        return [m["record"] for m in self.of("RECORD")]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All rows as Python values, whichever lane they took, by file and position."""
        properties = self.schema["properties"]
        decoded = [{n: decode(type_of(properties[n]), v) for n, v in record.items()} for record in self.raw]
        key = self.of("SCHEMA")[-1]["key_properties"]
        order = [n for n in ("_sdc_source_file", "_sdc_source_lineno") if n in properties] or key
        return sorted([*self.batched, *decoded], key=lambda r: [r[n] for n in order])

    def column(self, name: str) -> list[Any]:
        """Its values in all rows."""
        return [row[name] for row in self.rows]


def decode(word: str, value: Any) -> Any:
    """A JSON value as the value that the Arrow lane has; what does not fit stays as it is."""
    if value is None:
        return None
    try:
        if word.startswith("decimal"):
            return Decimal(value)
        if word == "timestamptz":
            return datetime.fromisoformat(value.replace("Z", "+00:00")).astimezone(timezone.utc)
        reader = {"date": date.fromisoformat, "time": time.fromisoformat, "timestamp": datetime.fromisoformat}.get(word)
        return reader(value) if reader else value
    except (ValueError, ArithmeticError):
        return value


def in_utc(row: dict[str, Any]) -> dict[str, Any]:
    """Moments with Python's own UTC, whatever Arrow calls it."""
    return {n: v.astimezone(timezone.utc) if getattr(v, "tzinfo", None) else v for n, v in row.items()}


def run_tap(
    tap: type[Tap],
    config: dict[str, Any],
    *,
    catalog: Any = None,
    state: Any = None,
    lane: str = "record",
) -> Output:
    """Run a tap to its end; its batch files go to $DATIVO_BATCH_DIR, and are gone when it returns.

    Args:
        tap: its class.
        config: its configuration.
        catalog: a Singer catalog.
        state: a Singer state.
        lane: record or arrow.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    settings = {**config, **({"batch_config": ARROW} if lane == "arrow" else {})}
    try:
        with redirect_stdout(stdout):
            tap(config=settings, catalog=catalog, state=state).sync_all()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    stdout.flush()
    text = stdout.buffer.getvalue().decode()
    output = Output([json.loads(line) for line in text.split("\n") if line])
    for message in output.of("BATCH"):
        if message["encoding"] != singer_arrow.ENCODING:
            raise AssertionError(message)
        for uri in message["manifest"]:
            output.batched += map(in_utc, _taken(uri))
    keys: list[dict[str, Any]] = []
    for message in output.of("DATIVO_KEYS"):
        keys = [] if message["begin"] else keys
        for uri in message["manifest"]:
            keys += _taken(uri)
        if message["ranges"] is not None:
            output.listed.append((message["ranges"], keys))
    return output


def _taken(uri: str) -> list[dict[str, Any]]:
    """The rows of a batch file, which is removed as a target does."""
    with singer_arrow.open_batch(uri) as reader:
        rows: list[dict[str, Any]] = reader.read_all().to_pylist()
    singer_arrow.remove(uri)
    return rows


_SUITE = """
from singer_sdk.testing import get_tap_test_class
from {module} import {name}
TestTap = get_tap_test_class({name}, config={config!r}, parse_env_config=False)
"""


def run_sdk_suite(tap: type[Tap], config: dict[str, Any], directory: Path) -> int:
    """Run the Singer SDK's own tests of a tap; how many of them have passed.

    In a program of its own, since the suite's configuration must be known when its module is read.

    Raises:
        AssertionError: one has failed; with what pytest said.
    """
    suite = _SUITE.format(module=tap.__module__, name=tap.__name__, config=config)
    (directory / "test_suite.py").write_text(suite)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(directory)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False, timeout=120)
    passed = re.search(r"(\d+) passed", done.stdout)
    if done.returncode or passed is None:
        raise AssertionError(done.stdout)
    return int(passed[1])


def catalog_of(
    stream: str, types: dict[str, str], keys: tuple[str, ...] = (), *, resume: str | None = None, **more: Any
) -> dict[str, Any]:
    """A catalog as the compiler writes it: x-dativo-type says what a column is, dativo-resume how a later run goes on."""
    properties = {name: {"type": ["string", "null"], "x-dativo-type": word} for name, word in types.items()}
    schema = {"type": "object", "properties": properties, "required": list(keys)}
    own = {"inclusion": "available", "selected": True, **({"dativo-resume": resume} if resume else {})}
    metadata = [{"breadcrumb": [], "metadata": own}]
    entry = {
        "tap_stream_id": stream,
        "stream": stream,
        "key_properties": list(keys),
        "schema": schema,
        "metadata": metadata,
    }
    return {"streams": [{**entry, **more}]}


@dataclass(frozen=True)
class Odd:
    """A value that the column's type has no room for: the row goes to the target with this text, to be rejected."""

    text: str


@dataclass(frozen=True)
class Case:
    """A column with its values."""

    name: str
    type: str
    """As DDL has it."""
    word: str
    """What the Singer catalog calls it."""
    values: tuple[tuple[str, Any], ...]
    """(SQL expression, what arrives)."""


def schema_of(case: Case) -> dict[str, Any]:
    """A JSON Schema of the column, as far as it says the type."""
    if case.word == "json":
        return {"type": ["object", "array"], "x-dativo-encoding": "json", "x-dativo-type": "string"}
    return {"x-dativo-type": case.word}


def check_value(case: Case, wanted: Any, row: dict[str, Any], output: Output, key: str, lane: str) -> None:
    """Compare what a lane has handed over with what must arrive.

    Args:
        case: the column.
        wanted: what must arrive.
        row: one of `output.rows`.
        output: of the run.
        key: name of the key column; a row with a value without room goes as a record in either lane.
        lane: record or arrow.
    """
    found = row[case.name]
    if isinstance(wanted, Odd):
        is_right = str(found) == wanted.text
    else:
        in_record = lane == "record" or any(r[key] == row[key] for r in output.raw)
        is_right = _same(found, _as_record(case, wanted) if in_record else wanted)
    if not is_right:
        raise AssertionError(f"{case.name} ({case.type}): {found!r} came, and not {wanted!r}")


def _as_record(case: Case, value: Any) -> Any:
    if case.word == "json" and value is not None:
        return json.loads(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, float) and not math.isfinite(wanted):
        if isinstance(found, str):
            return found == {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(wanted)]
        return isinstance(found, float) and (math.isnan(found) if math.isnan(wanted) else found == wanted)
    return bool(found == wanted)
