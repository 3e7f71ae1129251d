"""What no load plan describes: streams of a target that runs alone, and fields that a relaxed contract does not name."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec

from target_iceberg import path_pattern
from target_iceberg.errors import TargetError
from target_iceberg.load_plan import INGEST_DATE, RECORD_METADATA, Column, StreamPlan
from target_iceberg.schema_rules import rules_of
from target_iceberg.types import column_from_json_schema

if TYPE_CHECKING:
    from collections.abc import Mapping

    from target_iceberg.load_plan import WriteMode
    from target_iceberg.singer.settings import Settings

_WRITE_MODES: dict[str, WriteMode] = {"append-only": "append", "upsert": "upsert", "overwrite": "replace"}


def plan_without_contract(stream: str, schema: dict[str, Any], key: tuple[str, ...], defaults: Settings) -> StreamPlan:
    """The load plan of a stream that only its SCHEMA describes.

    Raises:
        TargetError: the SCHEMA has no properties.
    """
    properties = schema.get("properties")
    if not isinstance(properties, dict) or not properties:
        raise TargetError(
            f"stream {stream}: its SCHEMA has no properties, so there is no table to make; select at least one field "
            "in the tap",
            "source",
        )
    missing = [k for k in key if k not in properties]
    if missing:
        raise TargetError(f"stream {stream}: key properties {', '.join(missing)} are not in its SCHEMA", "source")
    required = {*key, *(schema.get("required") or ())}
    columns = tuple(
        column_from_json_schema(n, s if isinstance(s, dict) else {}, n in required) for n, s in properties.items()
    )
    rules = rules_of(stream, schema, columns)
    if defaults.add_record_metadata:
        columns += tuple(c for c in RECORD_METADATA if c.name not in properties)
    has_date = INGEST_DATE in defaults.partition_by.of(stream) and INGEST_DATE not in properties
    if has_date:
        columns += (Column(name=INGEST_DATE, type="date"),)
    pattern = _pattern(stream, defaults, columns, key)
    if pattern is not None:
        rules += path_pattern.rules(stream, pattern, columns, key)
    method = defaults.load_method or ("upsert" if key else "append-only")
    per_record = pattern is None or path_pattern.is_per_record(pattern, columns, key)
    if method == "upsert" and not (key and per_record):
        method = "append-only"
    # Nessie and URIs give these characters a meaning of their own in a table name.
    table = re.sub(r"[@#?:%/\\\x00-\x1f]", "_", defaults.table_template.replace("{stream}", stream))
    return StreamPlan(
        stream=stream,
        namespace=defaults.namespace,
        table=table,
        columns=columns,
        # Who appends by choice keeps every version of a row: its key names it, and comes again.
        key=() if method == "append-only" else key,
        rules=rules,
        write_mode=_WRITE_MODES[method],
        evolution="relaxed",
        partition_by=defaults.partition_by.of(stream),
        sort_by=defaults.sort_by.of(stream),
        record_metadata=defaults.add_record_metadata,
        hard_delete=defaults.hard_delete,
        ingest_date=has_date,
        target_file_size_bytes=defaults.target_file_size_bytes,
        file_format=defaults.file_format,
        path_pattern=pattern,
        adopt=True,
        at_least_once=True,
        fingerprint=hashlib.sha256(stream.encode()).hexdigest(),
    )


def _pattern(stream: str, defaults: Settings, columns: tuple[Column, ...], key: tuple[str, ...]) -> str | None:
    """Where the objects of a stream go, if they are no Parquet files.

    Raises:
        TargetError: the pattern does not fit the stream.
    """
    if defaults.file_format == "parquet":
        return None
    pattern = defaults.path_pattern or path_pattern.DEFAULTS[defaults.file_format]
    if found := path_pattern.problems(pattern, columns, key):
        raise TargetError(f"stream {stream}: path_pattern {pattern!r}: {'; '.join(found)}", "configuration")
    return pattern


def with_announced_fields(plan: StreamPlan, schema: Mapping[str, Any]) -> StreamPlan:
    """A relaxed plan with an optional column for each field of the SCHEMA that it has none for, typed by the SCHEMA.

    A field whose name differs only in case from another's gets none: most engines could not tell the two columns apart.
    """
    if plan.evolution != "relaxed":
        return plan
    taken = {c.name.lower() for c in plan.columns}
    columns = list(plan.columns)
    for name, said in (schema.get("properties") or {}).items():
        if name.lower() not in taken:
            taken.add(name.lower())
            columns.append(column_from_json_schema(name, said if isinstance(said, dict) else {}, False))
    return plan if len(columns) == len(plan.columns) else msgspec.structs.replace(plan, columns=tuple(columns))
