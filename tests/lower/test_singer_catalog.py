"""The Singer catalog holds the contract's columns, selected, and how the stream is read again."""

from __future__ import annotations

from typing import Any

from dativo.config.model.resolved import Incremental
from dativo.lower.load_plan import lower
from dativo.lower.singer_catalog import singer_catalog


def entry(job: Any) -> dict[str, Any]:
    (only,) = singer_catalog(job, lower(job))["streams"]
    assert isinstance(only, dict)
    return only


def test_every_column_of_the_contract_is_selected_and_no_other(make_database_job: Any) -> None:
    stream = entry(make_database_job())
    assert list(stream["schema"]["properties"]) == ["order_id", "amount", "ordered_at"]
    chosen = {tuple(m["breadcrumb"]): m["metadata"] for m in stream["metadata"]}
    assert all(m["selected"] for m in chosen.values())
    assert chosen["properties", "order_id"]["inclusion"] == "automatic"
    assert chosen["properties", "amount"]["inclusion"] == "available"


def test_column_types_are_spelled_for_our_own_taps(make_job: Any) -> None:
    properties = entry(make_job())["schema"]["properties"]
    assert properties["amount"]["x-dativo-type"] == "decimal(12,2)"
    assert properties["_sdc_source_lineno"]["x-dativo-type"] == "long"


def test_a_cursor_makes_the_stream_incremental(make_database_job: Any) -> None:
    stream = entry(make_database_job())
    assert (stream["replication_method"], stream["replication_key"]) == ("INCREMENTAL", "ordered_at")
    assert stream["key_properties"] == ["order_id"]


def test_a_full_refresh_has_no_cursor(make_database_job: Any) -> None:
    stream = entry(make_database_job(source__incremental=Incremental(strategy="full_refresh")))
    assert stream["replication_method"] == "FULL_TABLE"
    assert "replication_key" not in stream


def test_file_taps_keep_their_bookmark_without_a_cursor(make_job: Any) -> None:
    stream = entry(make_job())
    assert stream["replication_method"] == "INCREMENTAL"
    assert "replication_key" not in stream
