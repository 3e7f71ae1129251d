"""Resolved job -> Singer catalog: the contract's columns, selected, and nothing else unless the contract is relaxed.

Meltano does not apply select rules when it is given a catalog file, so the selection stands in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from target_iceberg import types

if TYPE_CHECKING:
    from dativo.config.model.resolved import ResolvedJob, SourceObject
    from target_iceberg.load_plan import LoadPlan, StreamPlan


def singer_catalog(job: ResolvedJob, plan: LoadPlan) -> dict[str, Any]:
    """The catalog that the tap is given with --catalog."""
    streams = {s.stream: s for s in plan.streams}
    return {"streams": [_entry(job, item, streams[item.name]) for item in job.source.objects]}


def _entry(job: ResolvedJob, item: SourceObject, stream: StreamPlan) -> dict[str, Any]:
    properties = {column.name: types.json_schema_of(column) for column in stream.columns}
    incremental = job.source.incremental
    cursor = None if incremental.is_full_refresh or incremental.is_log_based else item.cursor_field
    method = "FULL_TABLE" if incremental.is_full_refresh else "LOG_BASED" if incremental.is_log_based else "INCREMENTAL"
    return {
        "tap_stream_id": item.name,
        "stream": item.name,
        "key_properties": list(stream.key),
        **({"replication_key": cursor} if cursor else {}),
        "replication_method": method,
        "schema": {
            "type": "object",
            "properties": properties,
            "required": [c.name for c in stream.columns if c.required],
            # What a relaxed contract does not name is wanted all the same.
            **({"additionalProperties": True} if stream.evolution == "relaxed" else {}),
        },
        "metadata": _metadata(stream, cursor, method, is_exclusive=_resumes_exclusively(job, stream)),
    }


def _resumes_exclusively(job: ResolvedJob, stream: StreamPlan) -> bool:
    """What is appended must not be read twice (protocol, rule 11); with a key it may, and then nothing is missed."""
    incremental = job.source.incremental
    is_incremental = not incremental.is_full_refresh and not incremental.lookback
    return is_incremental and stream.write_mode == "append" and job.source.connector_type.resume == "exclusive"


def _metadata(stream: StreamPlan, cursor: str | None, method: str, *, is_exclusive: bool) -> list[dict[str, Any]]:
    whole: dict[str, Any] = {
        "inclusion": "available",
        "selected": True,
        "table-key-properties": list(stream.key),
        "forced-replication-method": method,
    }
    if method == "LOG_BASED" and stream.hard_delete:
        whole["dativo-hard-delete"] = True
    if stream.allow_empty:
        whole["dativo-allow-empty"] = True
    if cursor:
        if is_exclusive:
            whole["dativo-resume"] = "exclusive"
        whole["replication-key"] = cursor
        whole["valid-replication-keys"] = [cursor]
    kept = {*stream.key, cursor}
    return [
        {"breadcrumb": [], "metadata": whole},
        *(
            {
                "breadcrumb": ["properties", column.name],
                "metadata": {"inclusion": "automatic" if column.name in kept else "available", "selected": True},
            }
            for column in stream.columns
        ),
    ]
