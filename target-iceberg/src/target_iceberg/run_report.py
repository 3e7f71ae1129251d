"""The run report: what one run did, written by the target and completed by `dativo run`.

It lies at <state_dir>/runs/<run id>.json. Exit codes come from it and from the lake, never from Meltano's alone.
"""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Literal

import msgspec

VERSION = 1

Outcome = Literal["published", "partial", "unchanged", "dry_run", "withheld", "failed"]
"""published: all of it; partial: good records published, bad ones rejected, or a publish that stopped half way;
unchanged: nothing new, no commit; dry_run: nothing written on purpose; withheld: the rules forbade publishing;
failed: anything else."""

FailureClass = Literal[
    "configuration",
    "source",
    "incomplete",
    "overtaken",
    "conflict",
    "lake",
    "violations",
    "evolution",
    "storage",
    "refused",
    "interrupted",
    "internal",
]
EXIT_CODES: dict[Outcome, int] = {
    "published": 0,
    "unchanged": 0,
    "dry_run": 0,
    "partial": 1,
    "withheld": 2,
    "failed": 2,
}


COUNTS = (
    "read",
    "published",
    "rejected",
    "superseded",
    "deleted",
    "withheld",
    "rows_replaced",
    "bytes_written",
    "files_written",
)


class RuleCount(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How often one rule was broken in a run."""

    rule: str
    column: str | None
    kind: str
    severity: str
    records: int
    example: str | None = None
    """One message; never holds a value of a classified column."""


class StreamReport(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Counts of one stream; read = published + rejected + superseded + deleted + withheld."""

    stream: str
    table: str
    """Address: namespace.table."""
    write_mode: str
    read: int = 0
    published: int = 0
    rejected: int = 0
    superseded: int = 0
    deleted: int = 0
    withheld: int = 0
    rows_replaced: int = 0
    """Rows of the table that this run took away: earlier rows of a key or a file, or of the whole table."""
    bytes_written: int = 0
    files_written: int = 0
    snapshot_id: int | None = None
    bookmark_n: int | None = None
    bookmark_before: Any = None
    bookmark_after: Any = None
    schema_changes: list[str] = []
    rules: list[RuleCount] = []
    notices: list[str] = []


def merged(rounds: list[StreamReport]) -> StreamReport:
    """One report of a stream that was published several times in a run, oldest first."""
    last = msgspec.structs.replace(rounds[-1])
    for count in COUNTS:
        setattr(last, count, sum(getattr(r, count) for r in rounds))
    last.bookmark_before = rounds[0].bookmark_before
    last.schema_changes = [line for r in rounds for line in r.schema_changes]
    last.notices = list(dict.fromkeys(n for r in rounds for n in r.notices))
    rules: dict[tuple[str, str], RuleCount] = {}
    for rule in (rule for r in rounds for rule in r.rules):
        known = rules.setdefault((rule.rule, rule.severity), msgspec.structs.replace(rule, records=0))
        known.records += rule.records
    last.rules = list(rules.values())
    return last


class Failure(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why a run published nothing, or less than all."""

    failure_class: FailureClass
    message: str
    retryable: bool = False


class RunReport(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What one run did."""

    version: int = VERSION
    run_id: str
    tenant: str | None
    job: str | None
    outcome: Outcome
    started_at: str
    """RFC 3339, UTC."""
    ended_at: str
    commit_id: str | None = None
    dry_run: bool = False
    streams: list[StreamReport] = []
    failure: Failure | None = None
    rejects_tables: list[str] = []
    notices: list[str] = []

    @property
    def exit_code(self) -> int:
        """Exit code of `dativo run` for this report; that of a dry run is the one of the run that it stands for."""
        if self.outcome == "dry_run" and any(s.rejected for s in self.streams):
            return EXIT_CODES["partial"]
        return EXIT_CODES[self.outcome]


def new_run_id() -> str:
    """A UUIDv7 (RFC 9562): text order is time order."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (milliseconds & (1 << 48) - 1) << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    )
    return str(uuid.UUID(int=value))


def now() -> str:
    """This moment as a report states it."""
    return dt.datetime.now(tz=dt.timezone.utc).isoformat(timespec="milliseconds")


def write(report: RunReport, path: Path) -> None:
    """Write a report atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(fd, "wb") as f:
        f.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    Path(name).replace(path)


def read(path: Path) -> RunReport:
    """Read a report.

    Raises:
        FileNotFoundError: there is none.
        msgspec.DecodeError: the file is not a run report.
    """
    return msgspec.json.decode(path.read_bytes(), type=RunReport)


def json_schema() -> dict[str, Any]:
    """JSON Schema of the run report, for schemas/run-report.schema.json."""
    return msgspec.json.schema(RunReport)
