"""Three spellings in, one ODCS document out.

    nested  asset: {name, schema: [columns], ...}
    flat    name: .., schema: [columns], ...
    odcs    schema: [{name, properties: [columns]}, ...]        taken as it is

What ODCS has no place for goes to customProperties as `dativo.<section>`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dativo.config.check_model import check_model
from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.model.contract_file import AuthoredColumn, DataQuality, FlatContract, NestedContract
from dativo.config.odcs.library_rules import with_metrics
from dativo.config.odcs.types import odcs_type
from target_iceberg.types import UnknownTypeError, contract_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.model.contract import Spelling
    from dativo.config.model.contract_file import NestedAsset
    from dativo.config.yamlio import Document

API_VERSION = "v3.2.0"
CUSTOM = "dativo."
_OPTIONS = ("pattern", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "format")
_TEXTS = ("description", "businessName", "classification")


def spelling_of(data: Any) -> Spelling:
    """Which of the three a document is written in."""
    if isinstance(data, dict) and "asset" in data:
        return "nested"
    objects = data.get("schema") if isinstance(data, dict) else None
    if isinstance(objects, list) and any(
        isinstance(o, dict) and ("properties" in o or o.get("logicalType") == "object") and "type" not in o
        for o in objects
    ):
        return "odcs"
    return "flat"


def canonical(document: Document, findings: list[Finding]) -> dict[str, Any] | None:
    """The ODCS document that a contract file says; None (and findings) when it fits no spelling."""
    spelling = spelling_of(document.data)
    if spelling == "odcs":
        said = {k: v for k, v in document.data.items() if k != "$schema"}
        return dict(with_metrics(said)) if str(said.get("apiVersion", "")).startswith("v3.0") else said
    if spelling == "nested":
        nested = check_model(NestedContract, document, findings)
        return _from_nested(nested.asset, document, findings) if nested else None
    flat = check_model(FlatContract, document, findings)
    return _from_flat(flat, document, findings) if flat else None


def columns_at(document: Document, object_index: int = 0) -> tuple[PathPart, ...]:
    """Where the list of columns stands in the authored file."""
    places: dict[Spelling, tuple[PathPart, ...]] = {
        "nested": ("asset", "schema"),
        "flat": ("schema",),
        "odcs": ("schema", object_index, "properties"),
    }
    return places[spelling_of(document.data)]


def _from_nested(asset: NestedAsset, document: Document, findings: list[Finding]) -> dict[str, Any]:
    return _contract(asset, document, findings, base=("asset",), head={"id": f"urn:dativo:contract:{asset.name}"})


def _from_flat(flat: FlatContract, document: Document, findings: list[Finding]) -> dict[str, Any]:
    head = {
        "id": flat.id or f"urn:dativo:contract:{flat.name}",
        "dataProduct": flat.dataProduct,
        "tags": flat.tags or None,
        "team": _team(flat),
        "customProperties": list(flat.customProperties),
        "slaProperties": list(flat.slaProperties),
    }
    return _contract(flat, document, findings, base=(), head=head)


def _contract(
    source: NestedAsset | FlatContract,
    document: Document,
    findings: list[Finding],
    *,
    base: tuple[PathPart, ...],
    head: dict[str, Any],
) -> dict[str, Any]:
    properties = [_property(c, document, findings, (*base, "schema", i)) for i, c in enumerate(source.schema_)]
    _mark_key(source, properties, document, findings, base)
    _mark_partitions(source, properties)
    table = source.object or source.name
    schema_object = {
        "name": table,
        "physicalName": source.name if source.name != table else None,
        "logicalType": "object",
        "physicalType": "table",
        "quality": [*source.quality, *_table_quality(source.data_quality)] or None,
        "properties": properties,
    }
    description = source.description
    custom = [*head.pop("customProperties", []), *_custom_properties(source)]
    sla = [*head.pop("slaProperties", []), *_sla(source, table)]
    return _without_none(
        {
            "apiVersion": API_VERSION,
            "kind": "DataContract",
            **head,
            "name": source.name,
            "version": source.version,
            "status": source.status or "active",
            "domain": source.domain or (source.governance.domain if source.governance else None),
            "tenant": source.tenant,
            "description": {"purpose": description} if isinstance(description, str) else description,
            "schema": [_without_none(schema_object)],
            "slaProperties": sla or None,
            "customProperties": custom or None,
        }
    )


def _property(
    column: AuthoredColumn, document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> dict[str, Any]:
    word = column.type if column.physicalType is None else column.physicalType
    try:
        logical, physical = odcs_type(column.type)
    except UnknownTypeError as e:
        key = "type" if document.written((*place, "type")) is not None else "logicalType"
        findings.append(document.finding("DTV043", (*place, key), str(e), f"use one of: {', '.join(contract_words())}"))
        return {"name": column.name, "logicalType": "string", "required": True, "primaryKey": column.primaryKey}
    options = {k: getattr(column, k) for k in _OPTIONS if getattr(column, k) is not None}
    return _without_none(
        {
            "name": column.name,
            "logicalType": logical,
            "physicalType": word if column.physicalType is not None else physical,
            "required": column.required or None,
            "primaryKey": column.primaryKey or None,
            "primaryKeyPosition": column.primaryKeyPosition,
            "unique": column.unique or None,
            **{k: getattr(column, k) for k in _TEXTS},
            "tags": column.tags or None,
            "examples": column.examples or None,
            "logicalTypeOptions": options or None,
            "enum": [{"value": v} for v in column.enum] if column.enum else None,
            "quality": column.quality or None,
            "customProperties": _out_of_range(column),
            **_members(column, document, findings, place),
        }
    )


def _out_of_range(column: AuthoredColumn) -> list[dict[str, Any]] | None:
    """`out_of_range: null` without quotes is YAML's null, and means the same."""
    if "out_of_range" not in column.model_fields_set:
        return None
    return [{"property": f"{CUSTOM}outOfRange", "value": column.out_of_range or "null"}]


def _members(
    column: AuthoredColumn, document: Document, findings: list[Finding], place: tuple[PathPart, ...]
) -> dict[str, Any]:
    members: dict[str, Any] = {}
    if column.properties is not None:
        key = "properties" if document.data and _has(document, (*place, "properties")) else "fields"
        members["properties"] = [
            _property(m, document, findings, (*place, key, i)) for i, m in enumerate(column.properties)
        ]
    if isinstance(column.items, str):
        item = AuthoredColumn.model_validate({"name": "element", "type": column.items})
        members["items"] = _property(item, document, findings, (*place, "items"))
    elif column.items is not None:
        members["items"] = _property(column.items, document, findings, (*place, "items"))
    return members


def _has(document: Document, parts: tuple[PathPart, ...]) -> bool:
    return document.position(parts) != document.position(parts[:-1])


def _mark_key(
    source: NestedAsset | FlatContract,
    properties: list[dict[str, Any]],
    document: Document,
    findings: list[Finding],
    base: tuple[PathPart, ...],
) -> None:
    """`primary_key: [..]` at the top says what primaryKey says at each column, and in which order."""
    by_name = {p["name"]: p for p in properties}
    for position, name in enumerate(source.primary_key or [], start=1):
        if name not in by_name:
            key = "primary_key" if _has(document, (*base, "primary_key")) else "primaryKey"
            problem = f"the key column '{name}' is not in the schema{did_you_mean(name, by_name)}"
            findings.append(
                document.finding("DTV044", (*base, key, position - 1), problem, f"columns: {listed(by_name)}")
            )
            continue
        by_name[name].update(primaryKey=True, primaryKeyPosition=position)


def _mark_partitions(source: NestedAsset | FlatContract, properties: list[dict[str, Any]]) -> None:
    by_name = {p["name"]: p for p in properties}
    for position, name in enumerate(source.target.partitioning if source.target else [], start=1):
        if name in by_name:
            by_name[name].update(partitioned=True, partitionKeyPosition=position)


def _table_quality(quality: DataQuality | None) -> Iterator[dict[str, Any]]:
    """`data_quality.row_count` and `.unique` as ODCS checks."""
    if quality is None:
        return
    if quality.row_count is not None:
        low, high = quality.row_count.min, quality.row_count.max
        if low is not None:
            yield {"metric": "rowCount", "mustBeGreaterOrEqualTo": low}
        if high is not None:
            yield {"metric": "rowCount", "mustBeLessOrEqualTo": high}
    for columns in quality.unique:
        yield {"metric": "duplicateValues", "mustBe": 0, "arguments": {"properties": list(columns)}}


def _sla(source: NestedAsset | FlatContract, table: str) -> Iterator[dict[str, Any]]:
    days = source.compliance.retention_days if source.compliance else None
    if days is None and source.governance is not None:
        days = source.governance.retention_days
    if days is not None:
        yield {"property": "retention", "value": days, "unit": "d"}
    freshness = source.data_quality.freshness if source.data_quality else None
    if freshness is not None:
        yield {
            "property": "freshness",
            "value": freshness.max_age_hours,
            "unit": "h",
            "element": f"{table}.{freshness.column}",
        }


def _custom_properties(source: NestedAsset | FlatContract) -> Iterator[dict[str, Any]]:
    sections = {
        "sourceType": source.source_type,
        "target": source.target,
        "governance": source.governance,
        "compliance": source.compliance,
        "finops": source.finops or None,
        "dataQuality": source.data_quality,
    }
    for name, value in sections.items():
        if value is not None:
            plain = value if isinstance(value, (str, dict)) else value.model_dump(mode="json", exclude_none=True)
            yield {"property": f"{CUSTOM}{name}", "value": plain}


def _team(flat: FlatContract) -> dict[str, Any] | None:
    """ODCS knows members with roles; further keys of `team` go to its customProperties."""
    if flat.team is None:
        return None
    more = [{"property": k, "value": v} for k, v in (flat.team.model_extra or {}).items()]
    members = [{"username": flat.team.owner, "role": "owner"}] if flat.team.owner else None
    return _without_none({"members": members, "customProperties": more or None})


def _without_none(mapping: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in mapping.items() if v is not None}
