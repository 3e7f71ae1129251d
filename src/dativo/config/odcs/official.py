"""The official JSON Schema of ODCS, as the package open-data-contract-standard ships it."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dativo.config.diagnostics import PathPart

_HEAD_TEXTS = ("id", "name", "version", "status", "domain", "tenant", "dataProduct")
_OBJECT_TEXTS = ("name", "physicalName", "description", "businessName")
_PROPERTY_TEXTS = (*_OBJECT_TEXTS, "physicalType", "classification")
"""Keys of which the schema demands no more than that they are text."""


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The schema; it accepts apiVersion 2.2 to 3.2."""
    # The package itself is not imported: its models are slow to load and misread the flat form.
    spec = find_spec("open_data_contract_standard")
    assert spec is not None, "a dependency of dativo"
    assert spec.submodule_search_locations is not None
    text = (Path(next(iter(spec.submodule_search_locations))) / "schema.json").read_text("utf-8")
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def problems(document: dict[str, Any]) -> Iterator[tuple[tuple[PathPart, ...], str]]:
    """(path in the ODCS document, what is wrong there)."""
    if _is_valid_in_parts(document):
        return
    from jsonschema.exceptions import best_match

    seen: set[tuple[tuple[PathPart, ...], str]] = set()
    for error in _validator(None).iter_errors(document):
        deepest = best_match([error])
        place: tuple[PathPart, ...] = tuple(deepest.absolute_path)
        message = _shortened(deepest.message)
        unexpected = re.search(r"\('([^']+)'.*(?:was|were) unexpected\)", deepest.message)
        if unexpected:
            place = (*place, unexpected[1])
            message = f"ODCS has no key '{unexpected[1]}' here"
        if (place, message) not in seen:
            seen.add((place, message))
            yield place, message


def _shortened(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:90]} ... {message[-60:]}"


@lru_cache(maxsize=2)
def _validator(definition: str | None) -> Any:
    from jsonschema import Draft201909Validator

    whole = schema()
    if definition is None:
        return Draft201909Validator(whole)
    part = {"$schema": whole["$schema"], "$ref": f"#/$defs/{definition}", "$defs": whole["$defs"]}
    return Draft201909Validator(part)


def _is_valid_in_parts(document: Mapping[str, Any]) -> bool:
    """Whether head and every column are valid, each shape looked at once.

    A document costs 7 ms as a whole. It is valid if and only if it is valid without its columns and each column is a
    SchemaProperty; and columns that differ in free text only are equally valid.
    """
    objects = document.get("schema")
    if not isinstance(objects, list) or not all(isinstance(o, dict) for o in objects):
        return False
    bare = [{**_without_texts(o, _OBJECT_TEXTS), "properties": []} if "properties" in o else o for o in objects]
    if not _shape_is_valid(None, _key({**_without_texts(document, _HEAD_TEXTS), "schema": bare})):
        return False
    for item in objects:
        columns = item.get("properties", [])
        if not isinstance(columns, list) or not all(isinstance(c, dict) for c in columns):
            return False
        if not all(_shape_is_valid("SchemaProperty", _key(_without_texts(c, _PROPERTY_TEXTS))) for c in columns):
            return False
    return True


def _without_texts(mapping: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {k: "" if k in keys and isinstance(v, str) else v for k, v in mapping.items()}


def _key(value: dict[str, Any]) -> str:
    return json.dumps(value, sort_keys=True, default=str)


@lru_cache(maxsize=10_000)
def _shape_is_valid(definition: str | None, shape: str) -> bool:
    return bool(_validator(definition).is_valid(json.loads(shape)))
