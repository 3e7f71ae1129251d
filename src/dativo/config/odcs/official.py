"""The official JSON Schema of ODCS, as the package open-data-contract-standard ships it."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dativo.config.diagnostics import PathPart


@lru_cache(maxsize=1)
def schema() -> dict[str, Any]:
    """The schema; it accepts apiVersion 2.2 to 3.2."""
    # The package itself is not imported: its models are slow to load and misread the flat form.
    spec = find_spec("open_data_contract_standard")
    assert spec is not None, "a dependency of dativo"
    assert spec.submodule_search_locations is not None
    loaded: dict[str, Any] = json.loads(
        (Path(next(iter(spec.submodule_search_locations))) / "schema.json").read_text("utf-8")
    )
    return loaded


@lru_cache(maxsize=1)
def _validator() -> Any:
    from jsonschema import Draft201909Validator

    return Draft201909Validator(schema())


def problems(document: dict[str, Any]) -> Iterator[tuple[tuple[PathPart, ...], str]]:
    """(path in the ODCS document, what is wrong there)."""
    from jsonschema.exceptions import best_match

    if _validator().is_valid(document):
        return
    seen: set[tuple[tuple[PathPart, ...], str]] = set()
    for error in _validator().iter_errors(document):
        deepest = best_match([error])
        place: tuple[PathPart, ...] = tuple(deepest.absolute_path)
        message = _shortened(deepest.message)
        unexpected = re.search(r"\('([^']+)'.*(?:was|were) unexpected\)", deepest.message)
        if unexpected:
            place = (*place, unexpected[1])
        if (place, message) not in seen:
            seen.add((place, message))
            yield place, message


def _shortened(message: str) -> str:
    return message if len(message) <= 160 else f"{message[:90]} ... {message[-60:]}"
