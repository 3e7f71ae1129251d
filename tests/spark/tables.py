"""Tables of every kind that a run can leave, and the rows that PyIceberg sees in them, for Spark to compare.

Usage: tables.py DIRECTORY
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyiceberg.catalog.sql import SqlCatalog

PROPERTIES = {
    "id": {"type": "integer"},
    "status": {"type": ["string", "null"]},
    "amount": {"type": ["string", "null"], "format": "decimal", "precision": 20, "scale": 3},
    "at": {"type": ["string", "null"], "format": "date-time"},
    "o": {"type": ["object", "null"], "properties": {"k": {"type": ["integer", "null"]}}},
}
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hidden": {"partition_by": ["bucket(3, id)"]},
    "by_status": {"partition_by": ["status", "day(at)"]},
    "sorted": {"sort_by": ["status desc", "id"]},
}


def records(stream: str, ids: range, status: str, **more: Any) -> list[dict[str, Any]]:
    """RECORDs with a NULL here and there."""
    return [
        {
            "type": "RECORD",
            "stream": stream,
            "record": {
                "id": i,
                "status": None if i % 7 == 0 else status,
                "amount": f"{i}.125",
                "at": f"2026-01-{1 + i % 28:02d}T12:00:00.000001+01:00",
                "o": None if i % 5 == 0 else {"k": i},
                **more,
            },
        }
        for i in ids
    ]


def load(directory: Path, stream: str, properties: dict[str, Any], rows: list[Any], **settings: Any) -> None:
    """A run of the target."""
    catalog = {"type": "sql", "uri": f"sqlite:///{directory}/catalog.db", "warehouse": f"file://{directory}/warehouse"}
    (directory / "config.json").write_text(json.dumps({"catalog": catalog, "catalog_name": "lake", **settings}))
    schema = {"type": "SCHEMA", "stream": stream, "schema": {"properties": properties}, "key_properties": ["id"]}
    text = "".join(json.dumps(m) + "\n" for m in [schema, *rows])
    command = [str(Path(sys.executable).parent / "target-iceberg"), "--config", str(directory / "config.json")]
    subprocess.run(command, input=text, text=True, check=True, cwd=directory, stderr=subprocess.DEVNULL)


def main() -> None:
    """Make the tables and write expected.json."""
    directory = Path(sys.argv[1]).resolve()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    wider = {**PROPERTIES, "note": {"type": ["string", "null"]}}
    for name, settings in KINDS.items():
        load(directory, name, PROPERTIES, records(name, range(200), "new"), **settings)
        load(directory, name, PROPERTIES, records(name, range(100, 300), "paid"), **settings)
        load(directory, name, wider, records(name, range(0, 300, 10), "third", note="x"), **settings)
    catalog = SqlCatalog("lake", uri=f"sqlite:///{directory}/catalog.db", warehouse=f"file://{directory}/warehouse")
    expected = {}
    for name in KINDS:
        rows = catalog.load_table(f"default.{name}").scan().to_arrow().to_pylist()
        expected[name] = sorted(
            [
                r["id"],
                r["status"],
                None if r["amount"] is None else str(r["amount"]),
                None if r["at"] is None else r["at"].strftime("%Y-%m-%d %H:%M:%S.%f"),
                None if r["o"] is None else r["o"]["k"],
                r["note"],
            ]
            for r in rows
        )
    (directory / "expected.json").write_text(json.dumps(expected))


if __name__ == "__main__":
    main()
