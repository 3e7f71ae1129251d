"""The load plan: what the compiler tells the target about one job, defined once.

`dativo compile` writes it, the target and the Meltano state backend read it. Paths are relative to the project root;
`${VAR}` and `${VAR:-default}` stand unexpanded and are expanded from the environment by whoever opens the lake.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = 1
CA_BUNDLE = "ssl.cabundle"
"""Property of a lake catalog with the path of the certificates to trust in place of the system's, by catalog and store."""
PROJECT_ROOT_ENV = "DATIVO_PROJECT_ROOT"
"""Environment variable that names the project root; without it Meltano's, without that the working directory is the root."""
_MELTANO_ROOT_ENV = "MELTANO_PROJECT_ROOT"

WriteMode = Literal["append", "upsert", "replace"]
EvolutionMode = Literal["strict", "merge", "relaxed"]
ViolationMode = Literal["strict", "warn"]
Severity = Literal["error", "warning"]
RowRuleKind = Literal[
    "not_null",
    "enum",
    "pattern",
    "minimum",
    "maximum",
    "exclusive_minimum",
    "exclusive_maximum",
    "multiple_of",
    "min_length",
    "max_length",
    "unique_items",
    "format",
]
TableRuleKind = Literal["unique", "row_count", "freshness", "metric", "sql"]
Mask = Literal["null", "hash", "truncate", "redact"]
FileFormat = Literal["parquet", "csv", "jsonl", "markdown_kv"]


class Column(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One column of a table, or one member of a struct, list or map."""

    name: str
    type: str
    """Iceberg's word: long, int, double, float, boolean, string, date, time, timestamp, timestamptz, uuid, binary,
    decimal(p,s), struct, list, map."""
    required: bool = False
    doc: str | None = None
    encoding: Literal["json", "base64"] | None = None
    """json: an object or array without declared members is kept as JSON text; base64: binary arrives as text."""
    classification: str | None = None
    """The contract's word, e.g. PII. A value of a classified column never appears in a message or a reject."""
    mask: Mask | None = None
    """What is done to values before anything touches the disk; None: nothing."""
    naive: str | None = None
    """timestamptz only: the zone that a value without offset is in (an IANA name), or `reject`; None: UTC."""
    out_of_range: Literal["null"] | None = None
    """null: a value of the source that the type has no room for (infinity, a date of the year 0) arrives as NULL; else it is
    rejected. The tap sees to it."""
    fields: tuple[Column, ...] = ()
    """Members of a struct; a list has one, called element; a map has two, key and value."""


DELETED_AT = "_sdc_deleted_at"
TABLE_VERSION = "_sdc_table_version"
RECORD_METADATA = (
    Column(name="_sdc_extracted_at", type="timestamptz", doc="When the tap read the record."),
    Column(name="_sdc_received_at", type="timestamptz", doc="When the target received the record."),
    Column(name="_sdc_batched_at", type="timestamptz", doc="When the batch of records was staged."),
    Column(name=DELETED_AT, type="timestamptz", doc="When the source deleted the record; empty while it lives."),
    Column(name="_sdc_sequence", type="long", doc="Milliseconds since 1970 at which the record was received."),
    Column(name=TABLE_VERSION, type="long", doc="Version of the source's table, from taps that number them."),
    Column(name="_sdc_sync_started_at", type="long", doc="Milliseconds since 1970 at which the run started."),
)
"""Columns of the Singer SDK that `record_metadata` adds to a table."""


INGEST_DATE = "ingest_date"
"""Column with the day (UTC) of the run, for partitioning."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One data rule. Row rules judge a record, table rules judge what a run has staged."""

    name: str
    """Unique in its stream and readable: orders.status.enum."""
    kind: RowRuleKind | TableRuleKind
    columns: tuple[str, ...] = ()
    """`address.city` is a member of a struct, `tags[]` the elements of a list."""
    argument: Any = None
    """enum: list of values; pattern: regular expression (searched, RE2); minimum, maximum (inclusive), exclusive_minimum,
    exclusive_maximum: number or text of a number, date or timestamp; multiple_of: number; min_length, max_length: int, of
    text, binary or list; format: email, uri, uuid, ipv4, date, date-time, ...;
    row_count: {"min": int | None, "max": int | None}; freshness: {"max_age_s": int};
    unique: {"max": number, "unit": "rows" | "percent"} duplicates allowed, or None for none;
    metric: {"metric": ODCS name, "arguments": {...}, "unit": "rows" | "percent", "limit": {ODCS operator: value}};
    sql: {"query": DuckDB SQL over the staged rows, "table": the name that it has for them, "limit": {ODCS operator: value}}."""
    severity: Severity = "error"
    description: str | None = None


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Which contract a stream obeys; stands in every receipt and reject."""

    name: str
    version: str
    digest: str
    """sha256 of the canonical contract, hexadecimal."""


class StreamPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How one Singer stream becomes rows of one table."""

    stream: str
    namespace: tuple[str, ...]
    table: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    write_mode: WriteMode
    replace_files: bool = False
    """A file that is read again replaces the rows that carry its name in _sdc_source_file."""
    resumable: bool = False
    """The tap may continue from any STATE it has sent (registry: resume)."""
    evolution: EvolutionMode = "strict"
    partition_by: tuple[str, ...] = ()
    """identity column name, or day(c), month(c), year(c), hour(c), bucket(n, c), truncate(n, c)."""
    sort_by: tuple[str, ...] = ()
    """Order of rows within a data file: column, or `column desc`; NULLs come last."""
    record_metadata: bool = False
    """The target fills those of RECORD_METADATA that are among the columns."""
    ingest_date: bool = False
    """The target fills the column of this name."""
    hard_delete: bool = False
    """A row that the source deleted leaves the table; otherwise it stays, with _sdc_deleted_at set. Not in append."""
    content_digest: bool = False
    """The receipt holds a digest of all rows of the table."""
    properties: dict[str, str] = {}
    target_file_size_bytes: int = 128 << 20
    file_format: FileFormat = "parquet"
    """Other than parquet only where the lake is of kind `files`."""
    path_pattern: str | None = None
    """Of objects that are not Parquet, below the table's folder: {column}, {doc_id}, {date}, {timestamp}, {run_id}, {part}."""
    fingerprint: str
    """sha256 over tap, connection identity without secrets, object, cursor and filter, hexadecimal."""
    contract: Contract | None = None
    allow_empty: bool = False
    adopt: bool = False
    at_least_once: bool = False


class LakeCatalog(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Where the tables lie."""

    kind: Literal["embedded", "pyiceberg", "nessie", "files"]
    """embedded: SQLite catalog below `path`, files there too unless `properties` name a warehouse; pyiceberg: `properties` go
    to pyiceberg.catalog.load_catalog; files: folders with manifests below the place that `properties` call warehouse."""
    name: str = "dativo"
    path: str | None = None
    """embedded only: project-relative directory with catalog.db and warehouse/, e.g. lake/acme."""
    properties: dict[str, str] = {}
    branch: str | None = None
    base_branch: str | None = None
    """From which `branch` is made when it is missing; None: the server's default branch."""
    create_branch: bool = True
    """Whether `branch` may be made."""


class Rejects(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How bad records are dealt with."""

    violations: ViolationMode = "strict"
    max_rejected_rows: int | None = None
    max_rejected_percent: float | None = None
    max_listed: int = 1000
    """Rejects stored per rule and run; the rest is counted."""


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One job as the target sees it."""

    version: int = VERSION
    tenant: str
    job: str
    environment: str | None = None
    state_id: str
    """Meltano's state id of this job: <environment>:<tap>-to-<target>."""
    tap: str
    catalog: LakeCatalog
    streams: tuple[StreamPlan, ...]
    rejects: Rejects = Rejects()
    publish_every_s: float | None = None
    """Publish what is complete at a STATE that comes so long after the last publish; None: once, at the end."""
    mask_key_env: str | None = None
    """Environment variable with the tenant's key for mask `hash`."""
    source_digest: str | None = None
    """sha256 over the Singer catalog and the tap's settings without secrets, hexadecimal: what was staged under another one
    is not gone on from."""
    state_dir: str
    """Project-relative: state/<tenant>/<job>; holds the mirror state.json and runs/<run id>.json."""


def with_deleted_at(plan: StreamPlan, schema: Mapping[str, Any]) -> StreamPlan:
    """The plan with a column for deletions, if the tap announces that it says which rows are gone."""
    if DELETED_AT not in (schema.get("properties") or {}) or any(c.name == DELETED_AT for c in plan.columns):
        return plan
    column = next(c for c in RECORD_METADATA if c.name == DELETED_AT)
    return msgspec.structs.replace(plan, columns=(*plan.columns, column))


class LoadPlanError(Exception):
    """The load plan cannot be read; the message names file, place and remedy."""


def read(path: str | Path) -> LoadPlan:
    """Read a load plan; relative paths are below `project_root()`.

    Raises:
        LoadPlanError: the file is missing, is not a load plan, or was written by another version.
    """
    file = project_root() / path
    try:
        plan = msgspec.json.decode(file.read_bytes(), type=LoadPlan)
    except FileNotFoundError as e:
        raise LoadPlanError(f"{file}: no such load plan; write it with: dativo compile jobs/") from e
    except OSError as e:
        raise LoadPlanError(f"{file}: cannot read the load plan: {e.strerror}") from e
    except msgspec.DecodeError as e:
        raise LoadPlanError(
            f"{file}: not a load plan of version {VERSION}: {e}; write it again: dativo compile jobs/"
        ) from e
    if plan.version != VERSION:
        raise LoadPlanError(
            f"{file}: load plan version {plan.version}, expected {VERSION}; write it again: dativo compile jobs/"
        )
    return plan


def dump(plan: LoadPlan) -> bytes:
    """Deterministic, readable bytes of a plan, ending in a newline."""
    return msgspec.json.format(msgspec.json.encode(plan, order="deterministic"), indent=2) + b"\n"


def json_schema() -> dict[str, Any]:
    """JSON Schema of the load plan, for schemas/load-plan.schema.json."""
    return msgspec.json.schema(LoadPlan)


def project_root(environ: Mapping[str, str] | None = None) -> Path:
    """Directory that relative paths of a plan start from."""
    env = os.environ if environ is None else environ
    return Path(env.get(PROJECT_ROOT_ENV) or env.get(_MELTANO_ROOT_ENV) or Path.cwd())


_NESSIE_API = re.compile(r"/(?:api/v\d+|iceberg)(?:/.*)?$")


def nessie_server(uri: str) -> str:
    """`http://host:19120` of any address that people write: with /api/v1, /api/v2, /iceberg or nothing behind it."""
    return _NESSIE_API.sub("", uri.rstrip("/"))


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def variables(text: str) -> list[tuple[str, str | None]]:
    """All `${NAME}` and `${NAME:-default}` in a text as (name, default or None)."""
    return [(m[1], m[2]) for m in _VARIABLE.finditer(text)]


def expand(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replace `${NAME}` and `${NAME:-default}` once (values are not expanded again); an empty value counts as missing
    where there is a default.

    Raises:
        LoadPlanError: lists every name that has neither value nor default.
    """
    env = os.environ if environ is None else environ
    missing = [name for name, default in variables(text) if default is None and name not in env]
    if missing:
        raise LoadPlanError(f"environment variables without a value: {', '.join(dict.fromkeys(missing))}")
    return _VARIABLE.sub(lambda m: env.get(m[1]) or (m[2] if m[2] is not None else env[m[1]]), text)
