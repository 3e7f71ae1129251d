"""The columns that say where a row comes from, and those that the files have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_kit import columns as kit
from tap_kit.columns import TYPE_KEYWORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE_FILE = "_sdc_source_file"
SOURCE_RECORD = "_sdc_source_lineno"
PROVENANCE: dict[str, dict[str, Any]] = {
    SOURCE_FILE: {"type": ["string", "null"], TYPE_KEYWORD: "string"},
    SOURCE_RECORD: {"type": ["integer", "null"], TYPE_KEYWORD: "long"},
}


def columns_of(schema: Mapping[str, Any], keys: Iterable[str] = ()) -> tuple[kit.Column, ...]:
    """The columns of a schema without those that say where a row comes from."""
    return kit.columns_of(schema, keys, without=PROVENANCE)
