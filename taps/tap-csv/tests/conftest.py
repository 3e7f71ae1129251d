"""Run the tap inside the test process, in either lane, and decode what it writes."""

from __future__ import annotations

import io
import json
import signal
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from datetime import date, datetime, time, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import singer_arrow
from tap_csv.tap import TapCSV
from tap_kit.columns import type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ARROW = {"encoding": {"format": "arrow"}, "storage": {"root": ""}}


@dataclass
class Output:
    """What one run of the tap wrote."""

    messages: list[dict[str, Any]]
    batched: list[dict[str, Any]] = field(default_factory=list)
    """Rows that came in batch files."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind]

    @property
    def schema(self) -> dict[str, Any]:
        return self.of("SCHEMA")[-1]["schema"]

    @property
    def state(self) -> dict[str, Any]:
        return self.of("STATE")[-1]["value"]

    @property
    def rejects(self) -> list[dict[str, Any]]:
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
        return sorted([*self.batched, *decoded], key=lambda r: (r["_sdc_source_file"], r["_sdc_source_lineno"]))

    def column(self, name: str) -> list[Any]:
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


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Output]]:
    """`sync(config, catalog=…, state=…, lane="record" | "arrow")`; paths are relative to tmp_path."""
    monkeypatch.setenv("DATIVO_PROJECT_ROOT", str(tmp_path))
    batches = tmp_path / ".batches"
    monkeypatch.setenv("DATIVO_BATCH_DIR", str(batches))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(config: dict[str, Any], catalog: Any = None, state: Any = None, lane: str = "record") -> Output:
        batches.mkdir(exist_ok=True)
        stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
        settings = {"rejects": "emit", **config, **({"batch_config": ARROW} if lane == "arrow" else {})}
        with redirect_stdout(stdout):
            TapCSV(config=settings, catalog=catalog, state=state).sync_all()
        stdout.flush()
        text = stdout.buffer.getvalue().decode()  # type: ignore[attr-defined]
        output = Output([json.loads(line) for line in text.split("\n") if line])
        for message in output.of("BATCH"):
            assert message["encoding"] == {"format": "arrow", "compression": None}
            for uri in message["manifest"]:
                with singer_arrow.open_batch(uri) as reader:
                    output.batched += [in_utc(row) for row in reader.read_all().to_pylist()]
                singer_arrow.remove(uri)
        assert not list(batches.iterdir())
        return output

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(params=["record", "arrow"])
def lane(request: pytest.FixtureRequest) -> str:
    """Both lanes."""
    return str(request.param)


def catalog_of(stream: str, types: dict[str, str], keys: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """A catalog as the compiler writes it: x-dativo-type says what a column is."""
    properties = {name: {"type": ["string", "null"], "x-dativo-type": word} for name, word in types.items()}
    schema = {"type": "object", "properties": properties, "required": list(keys)}
    metadata = [{"breadcrumb": [], "metadata": {"inclusion": "available", "selected": True}}]
    entry = {
        "tap_stream_id": stream,
        "stream": stream,
        "key_properties": list(keys),
        "schema": schema,
        "metadata": metadata,
    }
    return {"streams": [{**entry, **more}]}


@pytest.fixture
def catalog() -> Callable[..., dict[str, Any]]:
    """`catalog(stream, {column: type}, keys)`."""
    return catalog_of
