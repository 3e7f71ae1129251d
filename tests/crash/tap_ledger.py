"""A tap for the crash test: streams of numbered rows from a file, resumable, paced so that there is a middle to be killed in."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

CHUNK = 100
CHUNKS_PER_STATE = 2
SCHEMA = {
    "properties": {
        "seq": {"type": "integer"},
        "id": {"type": "integer"},
        "kind": {"type": ["string", "null"]},
        "note": {"type": ["string", "null"]},
    }
}


DELETED_AT = {"_sdc_deleted_at": {"type": ["string", "null"], "format": "date-time"}}


def main() -> None:
    arguments = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=False))
    if "--discover" in sys.argv:
        print(json.dumps({"streams": []}))
        return
    source = json.loads(Path(json.loads(Path(arguments["--config"]).read_text())["source"]).read_text())
    state = json.loads(Path(arguments["--state"]).read_text()) if "--state" in arguments else {}
    marks: dict[str, Any] = dict(state.get("bookmarks") or {})
    pending = {}
    for name, rows in source["streams"].items():
        key = ["id"] if source["mode"] == "upsert" else []
        properties = {**SCHEMA["properties"], **(DELETED_AT if source["deletes"] else {})}
        say({"type": "SCHEMA", "stream": name, "schema": {"properties": properties}, "key_properties": key})
        after = 0 if source["mode"] == "replace" else (marks.get(name) or {}).get("replication_key_value", 0)
        pending[name] = [r for r in rows if r["seq"] > after]
    chunks = 0
    while any(pending.values()):
        for name, rows in pending.items():
            for row in rows[:CHUNK]:
                say({"type": "RECORD", "stream": name, "record": row})
            if rows and source["mode"] != "replace":
                last = rows[:CHUNK][-1]["seq"]
                marks[name] = {"replication_key": "seq", "replication_key_value": last}
            pending[name] = rows[CHUNK:]
        chunks += 1
        if chunks % CHUNKS_PER_STATE == 0:
            say({"type": "STATE", "value": {"bookmarks": marks}})
        sys.stdout.flush()
        time.sleep(source["pace_s"])
    say({"type": "STATE", "value": {"bookmarks": marks}})


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
