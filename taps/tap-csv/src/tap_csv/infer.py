"""Guess the types of columns from the texts of the first records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from tap_kit.cast import cast_texts
from tap_kit.columns import TYPE_KEYWORD

if TYPE_CHECKING:
    from collections.abc import Sequence

SAMPLE_RECORDS = 10_000
NULLS_SEEN_KEYWORD = "x-dativo-nulls-seen"

_CANDIDATES = (
    # 007 and 00123 are codes, not numbers.
    ("long", r"^[+-]?(0|[1-9]\d*)$"),
    ("double", r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"),
    ("boolean", r"^(?i:true|false)$"),
    ("date", r"^\d{4}-\d\d-\d\d$"),
    ("timestamptz", r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d"),
    ("time", r"^\d\d:\d\d:\d\d(\.\d+)?$"),
)
"""Type and what all its texts look like, the narrowest first."""

_JSON_TYPE = {
    "long": ("integer", None),
    "double": ("number", None),
    "boolean": ("boolean", None),
    "date": ("string", "date"),
    "timestamptz": ("string", "date-time"),
    "time": ("string", "time"),
    "string": ("string", None),
}


def infer_type(texts: pa.ChunkedArray) -> str:
    """The narrowest type that all texts have; string when there are none."""
    values = pc.utf8_trim_whitespace(texts.drop_null().combine_chunks())
    values = values.filter(pc.not_equal(values, ""))
    if not len(values):
        return "string"
    for word, pattern in _CANDIDATES:
        if pc.all(pc.match_substring_regex(values, pattern)).as_py() and not cast_texts(values, word).misfits:
            return word
    return "string"


def property_schema(word: str, *, nulls_seen: bool) -> dict[str, Any]:
    """JSON Schema of an inferred column. It may be NULL: what the first records have says nothing of the others."""
    kind, form = _JSON_TYPE[word]
    schema: dict[str, Any] = {"type": [kind, "null"]}
    if form:
        schema["format"] = form
    return {**schema, TYPE_KEYWORD: word, NULLS_SEEN_KEYWORD: nulls_seen}


def infer_properties(samples: Sequence[pa.Table]) -> dict[str, dict[str, Any]]:
    """Properties for all columns of the samples (tables of texts, one per file), in the order they first appear."""
    properties = {}
    for name in dict.fromkeys(name for sample in samples for name in sample.column_names):
        chunks = [chunk for sample in samples if name in sample.column_names for chunk in sample[name].chunks]
        texts = pa.chunked_array(chunks, pa.string())
        lacking = any(name not in sample.column_names for sample in samples)
        word = infer_type(texts)
        nulls = texts.null_count > 0 or (word != "string" and bool(pc.any(pc.equal(texts, "")).as_py()))
        properties[name] = property_schema(word, nulls_seen=lacking or nulls)
    return properties
