"""Settings of target-iceberg and target-files: as JSON Schemas for `--about` and Meltano, and as a value for the engine."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import INGEST_DATE, FileFormat, LakeCatalog, ViolationMode

if TYPE_CHECKING:
    from collections.abc import Mapping

LoadMethod = Literal["append-only", "upsert", "overwrite"]
DEFAULT_LAKE = "lake/default"
_CATALOG_VARIABLE = re.compile(r"PYICEBERG_CATALOG__(.+?)__.+")

CONFIG: dict[str, Any] = {
    "type": "object",
    "properties": {
        "load_plan": {
            "type": ["string", "null"],
            "title": "Load plan",
            "description": "Path of a load plan written by `dativo compile`; with it the contract is enforced and all other "
            "settings are ignored.",
        },
        "catalog": {
            "type": ["object", "null"],
            "title": "Lake catalog",
            "additionalProperties": True,
            "description": "PyIceberg catalog properties, for example type, uri, warehouse, s3.endpoint. Credentials are better "
            "given as environment variables PYICEBERG_CATALOG__<NAME>__<KEY>. Without it: an embedded lake in lake/default.",
        },
        "catalog_name": {
            "type": ["string", "null"],
            "title": "Lake catalog name",
            "description": "Name under which PyIceberg looks for the catalog's properties in the environment, and under which a SQL "
            "catalog keeps its tables. Without it: the only one that the environment describes, else dativo.",
        },
        "default_target_schema": {
            "type": ["string", "null"],
            "title": "Namespace",
            "default": "default",
            "description": "Iceberg namespace of the tables.",
        },
        "table_template": {
            "type": ["string", "null"],
            "title": "Table name",
            "default": "{stream}",
            "description": "Name of a stream's table; {stream} stands for the stream's name.",
        },
        "load_method": {
            "type": ["string", "null"],
            "title": "Load method",
            "enum": ["append-only", "upsert", "overwrite", None],
            "description": "append-only, upsert by the stream's key properties, or overwrite. Default: upsert when the stream "
            "has key properties, else append-only.",
        },
        "hard_delete": {
            "type": ["boolean", "null"],
            "title": "Hard delete",
            "default": False,
            "description": "A row that the source has deleted (_sdc_deleted_at, ACTIVATE_VERSION) leaves the table; otherwise it "
            "stays, with _sdc_deleted_at set. Not for append-only.",
        },
        "add_record_metadata": {
            "type": ["boolean", "null"],
            "title": "Record metadata",
            "default": False,
            "description": "Add the columns _sdc_extracted_at, _sdc_received_at, _sdc_batched_at, _sdc_deleted_at, "
            "_sdc_sequence, _sdc_table_version and _sdc_sync_started_at.",
        },
        "partition_by": {
            "type": ["array", "object", "null"],
            "title": "Partitioning",
            "items": {"type": "string"},
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "How tables are partitioned: a list of column, day(column), month(column), year(column), "
            "hour(column), bucket(16, column), truncate(4, column), ingest_date (the day of the run); or an object with such a list for some streams.",
        },
        "sort_by": {
            "type": ["array", "object", "null"],
            "title": "Sort order",
            "items": {"type": "string"},
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "Order of rows within a data file: a list of `column` or `column desc`; or an object with such a list "
            "for some streams.",
        },
        "publish_every_s": {
            "type": ["number", "null"],
            "title": "Publish every",
            "minimum": 1,
            "description": "Publish what is complete at a STATE that comes so many seconds after the last publish. Without it a "
            "run becomes visible once, at its end. Not for overwrite.",
        },
        "violations": {
            "type": ["string", "null"],
            "title": "Violations",
            "default": "strict",
            "enum": ["strict", "warn", None],
            "description": "strict: one record that breaks its schema withholds the run; warn: good records are published, bad "
            "ones go to <table>__rejects.",
        },
        "parquet_target_size_mb": {
            "type": ["integer", "null"],
            "title": "File size",
            "default": 128,
            "minimum": 1,
            "description": "Wanted size of data files on disk, in MB.",
        },
    },
}
"""JSON Schema of the settings of target-iceberg."""

_ONLY_ICEBERG = ("catalog", "catalog_name")
FILES_CONFIG: dict[str, Any] = {
    "type": "object",
    "properties": {
        "load_plan": CONFIG["properties"]["load_plan"],
        "path": {
            "type": ["string", "null"],
            "title": "Place",
            "description": "Where the folders of the tables lie: s3://bucket/prefix, abfs://container/prefix, gs://bucket/prefix, "
            "or a directory. Needed unless there is a load plan.",
        },
        "storage": {
            "type": ["object", "null"],
            "title": "Object store",
            "additionalProperties": True,
            "description": "PyIceberg's properties of the store, for example s3.endpoint, s3.region, adls.account-name. Credentials "
            "are better left to the store's own environment variables (AWS_ACCESS_KEY_ID, AZURE_STORAGE_ACCOUNT_KEY).",
        },
        "file_format": {
            "type": ["string", "null"],
            "title": "Format",
            "default": "parquet",
            "enum": ["parquet", "csv", "jsonl", "markdown_kv", None],
            "description": "What the objects are. All but parquet can only be added to, replaced as a whole, or, with a column in "
            "path_pattern, replaced record by record.",
        },
        "path_pattern": {
            "type": ["string", "null"],
            "title": "Path pattern",
            "description": "Path of an object that is not Parquet, below the folder of its table: {column}, {doc_id} (that column, or "
            "the key), {date}, {timestamp}, {run_id}, {part}.",
        },
        **{k: v for k, v in CONFIG["properties"].items() if k not in ("load_plan", *_ONLY_ICEBERG)},
    },
}
"""JSON Schema of the settings of target-files."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user without a load plan may choose."""

    load_plan: str | None
    catalog: LakeCatalog
    namespace: tuple[str, ...]
    table_template: str
    load_method: LoadMethod | None
    violations: ViolationMode
    target_file_size_bytes: int
    hard_delete: bool
    add_record_metadata: bool
    publish_every_s: float | None
    partition_by: Choice
    sort_by: Choice
    file_format: FileFormat = "parquet"
    path_pattern: str | None = None


@dataclass(frozen=True)
class Choice:
    """A list for all streams, or one for some of them."""

    for_all: tuple[str, ...] = ()
    by_stream: Mapping[str, tuple[str, ...]] | None = None

    def of(self, stream: str) -> tuple[str, ...]:
        """The list of one stream."""
        return self.for_all if self.by_stream is None else self.by_stream.get(stream, ())


def from_config(
    config: Mapping[str, Any], environ: Mapping[str, str] | None = None, program: str = "target-iceberg"
) -> Settings:
    """Read a Singer configuration that fits CONFIG, or FILES_CONFIG.

    Raises:
        TargetError: values that contradict each other; all of them are named.
    """
    problems: list[str] = []
    template = config.get("table_template") or "{stream}"
    if "{stream}" not in template or re.search(r"\{(?!stream\})|(?<!\{stream)\}", template):
        problems.append(
            f"table_template {template!r}: write {{stream}} where the stream's name goes, and no other braces"
        )
    method, every_s = config.get("load_method"), config.get("publish_every_s")
    if method == "overwrite" and every_s:
        problems.append(
            "publish_every_s: a table that is overwritten becomes visible as a whole; take one of the two out"
        )
    if method == "append-only" and config.get("hard_delete"):
        problems.append("hard_delete: a row that was appended cannot be found again; use load_method upsert")
    if program == "target-files":
        catalog = _folders(config, problems)
    else:
        catalog = _catalog(config, os.environ if environ is None else environ, problems)
    if problems:
        raise TargetError(f"settings of {program}: " + "; ".join(problems), "configuration")
    file_format: FileFormat = config.get("file_format") or "parquet"
    lies_by_day = program == "target-files" and file_format == "parquet"
    return Settings(
        load_plan=config.get("load_plan") or None,
        catalog=catalog,
        namespace=tuple(str(config.get("default_target_schema") or "default").split(".")),
        table_template=template,
        load_method=method,
        violations=config.get("violations") or "strict",
        target_file_size_bytes=int(config.get("parquet_target_size_mb") or 128) << 20,
        hard_delete=bool(config.get("hard_delete")),
        add_record_metadata=bool(config.get("add_record_metadata")),
        publish_every_s=every_s,
        partition_by=_choice(config.get("partition_by") or ([INGEST_DATE] if lies_by_day else None)),
        sort_by=_choice(config.get("sort_by")),
        file_format=file_format,
        path_pattern=config.get("path_pattern"),
    )


def _choice(value: Any) -> Choice:
    if isinstance(value, dict):
        return Choice(by_stream={stream: tuple(expressions) for stream, expressions in value.items()})
    return Choice(tuple(value or ()))


def _folders(config: Mapping[str, Any], problems: list[str]) -> LakeCatalog:
    path, pattern = config.get("path"), config.get("path_pattern")
    if not path and not config.get("load_plan"):
        problems.append("path: say where the tables' folders lie, for example s3://bucket/prefix")
    if pattern and (config.get("file_format") or "parquet") == "parquet":
        problems.append("path_pattern: Parquet files lie by partition; use partition_by, or another file_format")
    return LakeCatalog(
        kind="files", name="files", properties={**_texts(config.get("storage") or {}), "warehouse": path or ""}
    )


def _texts(properties: Mapping[str, Any]) -> dict[str, str]:
    """PyIceberg takes text only: true becomes "true"."""
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in properties.items()}


def _catalog(config: Mapping[str, Any], environ: Mapping[str, str], problems: list[str]) -> LakeCatalog:
    properties, name = config.get("catalog"), config.get("catalog_name")
    if not properties and not name:
        named = {m[1].lower() for key in environ if (m := _CATALOG_VARIABLE.fullmatch(key))}
        if len(named) > 1:
            problems.append(
                f"catalog_name: the environment describes {', '.join(sorted(named))}; say which one is meant"
            )
        name = next(iter(named), None)
    if properties or name:
        return LakeCatalog(kind="pyiceberg", name=name or "dativo", properties=_texts(properties or {}))
    return LakeCatalog(kind="embedded", path=DEFAULT_LAKE)
