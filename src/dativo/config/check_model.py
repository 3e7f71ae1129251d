"""A document against its model: all findings at once, each at its key, in words that say what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, get_args

from pydantic import AliasChoices, BaseModel, ValidationError

from dativo.config.diagnostics import Finding, PathPart, did_you_mean, listed, yaml_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from dativo.config.yamlio import Document

M = TypeVar("M", bound=BaseModel)

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def check_model(
    model: type[M], document: Document, findings: list[Finding], *, at: Sequence[PathPart] = ()
) -> M | None:
    """The validated model, or None and findings. `at`: where in the document the model starts."""
    data = document.data
    for part in at:
        data = data[part]
    try:
        return model.model_validate(data)
    except ValidationError as e:
        found: dict[tuple[str, str], Finding] = {}
        for error in e.errors(include_url=False):
            finding = _finding(model, document, data, error, tuple(at))
            found.setdefault((finding.code, finding.path), finding)  # a union complains once per member
        findings += [f for f in found.values() if not _is_of_another_member(f, found.values())]
        return None


def check_leniently(
    model: type[M], document: Document, findings: list[Finding]
) -> tuple[M | None, Document, list[str]]:
    """The same, but what is wrong is left out so that the rest can be looked at, too.

    Returns the model of what is left (None when that is not enough), the document without what was left out, and the
    YAML paths of that.
    """
    own: list[Finding] = []
    whole = check_model(model, document, own)
    findings += own
    if whole is not None:
        return whole, document, []
    rest = document.without([f.parts for f in own if f.code != "DTV012"])
    return check_model(model, rest, []), rest, [f.path for f in own]


def _finding(
    model: type[BaseModel], document: Document, data: Any, error: ErrorDetails, at: tuple[PathPart, ...]
) -> Finding:
    kind = error["type"]
    absent = kind in {"missing", "extra_forbidden"}
    parts = _real_path(error["loc"], data, keep_last=absent)
    place = (*at, *parts)
    if kind == "extra_forbidden":
        known = list(_keys_at(model, parts[:-1]))
        where = f"in {yaml_path(place[:-1])}" if place[:-1] else "in this file"
        problem = f"unknown key '{parts[-1]}' {where}{did_you_mean(str(parts[-1]), known)}"
        return document.finding("DTV010", place, problem, f"remove or rename it; known keys: {listed(known, 30)}")
    if kind == "missing":
        return document.finding("DTV012", place, f"the key '{parts[-1]}' is missing", f"add {parts[-1]}: ...")
    if kind in _WANTED:
        return _wrong_type(document, place, error["input"], _WANTED[kind])
    if kind == "literal_error":
        expected = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        problem = (
            f"{_shown(error['input'])} is not allowed here{did_you_mean(str(error['input']), expected.split(', '))}"
        )
        return document.finding("DTV013", place, problem, f"use one of: {expected}")
    problem = error["msg"].removeprefix("Value error, ")
    return document.finding("DTV013", place, f"{_shown(error['input'])}: {problem}", "see the reference of this key")


def _is_of_another_member(finding: Finding, all_of_them: Iterable[Finding]) -> bool:
    """A value that is of the wrong type, and yet something within it is wrong, is meant for another member of a union."""
    n = len(finding.parts)
    return finding.code == "DTV011" and any(len(f.parts) > n and f.parts[:n] == finding.parts for f in all_of_them)


def _wrong_type(document: Document, place: tuple[PathPart, ...], value: Any, wanted: str) -> Finding:
    written = document.written(place)
    if place and place[-1] == "version" and isinstance(value, (int, float)) and wanted == "text":
        problem = f"version: {written} without quotes is a number, and 1.10 would become 1.1"
        return document.finding("DTV014", place, problem, f'put it in quotes: version: "{written}"')
    remedy = f"write {wanted}"
    if wanted == "text" and isinstance(value, (bool, int, float)):
        remedy = f'put it in quotes: "{written}"'
    return document.finding("DTV011", place, f"{_shown(value)} is not {wanted}", remedy)


def _shown(value: Any) -> str:
    """Kind of a value and, for short scalars, the value; never a whole subtree."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing (null)"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _real_path(loc: tuple[int | str, ...], data: Any, *, keep_last: bool) -> tuple[PathPart, ...]:
    """Pydantic's location without the names of union members, which are no keys of the document."""
    parts: list[PathPart] = []
    for i, part in enumerate(loc):
        inner = _step(data, part)
        if inner is not _NOTHING:
            data = inner
            parts.append(part)
        elif keep_last and i == len(loc) - 1:
            parts.append(part)
    return tuple(parts)


_NOTHING = object()


def _step(data: Any, part: int | str) -> Any:
    if isinstance(data, dict):
        return data.get(part, _NOTHING)
    if isinstance(data, list) and isinstance(part, int) and part < len(data):
        return data[part]
    return _NOTHING


def _keys_at(model: type[BaseModel], parts: Sequence[PathPart]) -> Iterator[str]:
    """Keys that the model knows at a path."""
    models = [model]
    for part in parts:
        annotations = [f.annotation for m in models for n, f in m.model_fields.items() if part in spellings(n, f)]
        if annotations:
            models = [found for a in annotations for found in models_in(a)]
    for m in models:
        for name, field in m.model_fields.items():
            yield from spellings(name, field)


def spellings(name: str, field: FieldInfo) -> list[str]:
    """The keys that a field is read from."""
    if isinstance(field.validation_alias, AliasChoices):
        return [str(choice) for choice in field.validation_alias.choices]
    return [field.alias or name]


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models that stand anywhere in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)
