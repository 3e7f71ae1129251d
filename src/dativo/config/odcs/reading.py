"""A contract file -> contracts: spelling, official schema, columns, key, rules."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from dativo.config.diagnostics import has_errors
from dativo.config.model.contract import Contract, ContractTarget
from dativo.config.odcs import official
from dativo.config.odcs.columns import columns
from dativo.config.odcs.quality import QualityReader
from dativo.config.odcs.spellings import CUSTOM, canonical, columns_at, spelling_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.yamlio import Document
    from target_iceberg.load_plan import Column

_UNIT_DAYS = {"d": 1, "day": 1, "days": 1, "w": 7, "week": 7, "weeks": 7, "m": 30, "month": 30, "months": 30, "y": 365,
              "yr": 365, "year": 365, "years": 365}  # fmt: skip


def read_contracts(document: Document, findings: list[Finding]) -> list[Contract]:
    """All contracts of a file: one, or one per schema object of an ODCS document. Empty when there are error findings."""
    own: list[Finding] = []
    odcs = canonical(document, own)
    broken = _official_findings(odcs, document) if odcs is not None and not has_errors(own) else []
    own += broken
    if odcs is None or broken:
        findings += own
        return []
    objects = odcs.get("schema") or []
    if not objects:
        own.append(
            document.finding("DTV012", ("schema",), "the contract has no schema", "add at least one object to schema")
        )
    contracts = [_contract(odcs, i, document, own) for i in range(len(objects))]
    findings += own
    return [] if has_errors(own) else contracts


def _official_findings(odcs: dict[str, Any], document: Document) -> list[Finding]:
    findings = []
    is_odcs = spelling_of(document.data) == "odcs"
    for place, problem in official.problems(odcs):
        where: tuple[PathPart, ...] = place if is_odcs else ()
        said = problem if is_odcs or not place else f"{'.'.join(str(p) for p in place)}: {problem}"
        code = "DTV014" if place == ("version",) and isinstance(odcs.get("version"), (int, float)) else "DTV048"
        remedy = "see the ODCS specification of this key; keys of your own go to customProperties"
        if code == "DTV014":
            remedy = 'put it in quotes: version: "1.0"'
        findings.append(document.finding(code, where, said, remedy))
    return findings


def _contract(odcs: dict[str, Any], index: int, document: Document, findings: list[Finding]) -> Contract:
    schema_object = odcs["schema"][index]
    place = columns_at(document, index)
    properties = schema_object.get("properties") or []
    if not properties:
        findings.append(
            document.finding("DTV012", place, "the object has no columns", "add at least one to properties")
        )
    found = columns(properties, document, findings, place)
    custom = {
        p["property"].removeprefix(CUSTOM): p["value"]
        for p in odcs.get("customProperties") or ()
        if p["property"].startswith(CUSTOM)
    }
    own = {**odcs, "schema": [schema_object]}
    is_one = len(odcs["schema"]) == 1
    return Contract(
        path=document.path,
        file=document.file,
        spelling=spelling_of(document.data),
        name=schema_object.get("physicalName") or schema_object["name"],
        title=odcs.get("name") if is_one else None,
        version=odcs["version"],
        object=schema_object["name"],
        source_type=custom.get("sourceType"),
        domain=odcs.get("domain"),
        tenant=odcs.get("tenant"),
        status=odcs.get("status"),
        description=schema_object.get("description") or (odcs.get("description") or {}).get("purpose"),
        columns=found,
        key=_key(properties, found, document, findings, place),
        rules=_rules(odcs, index, found, document, findings, place),
        classification={c.name: c.classification for c in found if c.classification},
        retention_days=_retention_days(odcs),
        target=_target(custom.get("target") or {}, properties, found, document, findings, place),
        governance=_governance(odcs, custom),
        finops=custom.get("finops") or {},
        compliance=custom.get("compliance") or {},
        canonical=own,
        digest=digest(own),
    )


def digest(odcs: Mapping[str, Any]) -> str:
    """sha256 of a canonical document, hexadecimal; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(odcs, sort_keys=True, separators=(",", ":"), default=str).encode()).hexdigest()


def _key(
    properties: list[dict[str, Any]],
    found: tuple[Column, ...],
    document: Document,
    findings: list[Finding],
    place: tuple[PathPart, ...],
) -> tuple[str, ...]:
    types = {c.name: c for c in found}
    marked = []
    for i, prop in enumerate(properties):
        if not prop.get("primaryKey"):
            continue
        column = types[prop["name"]]
        where = (*place, i, "primaryKey")
        if not prop.get("required"):
            problem = (
                f"the key column '{column.name}' is not required; a row without key can be neither found nor replaced"
            )
            findings.append(document.finding("DTV044", where, problem, "add required: true"))
        if column.type in {"float", "double", "struct", "list", "map"} or column.encoding == "json":
            problem = f"'{column.name}' is {column.encoding or column.type}, which cannot be compared exactly"
            findings.append(document.finding("DTV044", where, problem, "use another column, or decimal(p,s)"))
        position = prop.get("primaryKeyPosition")
        marked.append((position if isinstance(position, int) and position > 0 else len(properties) + i, column.name))
    return tuple(name for _, name in sorted(marked))


def _rules(
    odcs: dict[str, Any],
    index: int,
    found: tuple[Column, ...],
    document: Document,
    findings: list[Finding],
    place: tuple[PathPart, ...],
) -> tuple[Any, ...]:
    schema_object = odcs["schema"][index]
    reader = QualityReader(schema_object["name"], found, document, findings)
    read: set[str] = set()
    for i, prop in enumerate(schema_object.get("properties") or ()):
        if prop["name"] not in read:
            read.add(prop["name"])
            reader.read_property(prop, (*place, i))
    for i, check in enumerate(schema_object.get("quality") or ()):
        reader.quality(check, (*place[:-1], "quality", i))
    sla_base: tuple[PathPart, ...] = () if spelling_of(document.data) == "odcs" else place[:-1]
    for i, sla in enumerate(odcs.get("slaProperties") or ()):
        table = str(sla.get("element") or "").rpartition(".")[0]
        if sla["property"] == "freshness" and (len(odcs["schema"]) == 1 or table == schema_object["name"]):
            authored = document.written(("slaProperties", i, "property")) is not None
            where = ("slaProperties", i) if authored else (*sla_base, "data_quality", "freshness")
            reader.freshness(sla, where)
    return tuple(reader.rules.values())


def _retention_days(odcs: Mapping[str, Any]) -> int | None:
    for sla in odcs.get("slaProperties") or ():
        days = _UNIT_DAYS.get(str(sla.get("unit", "d")).lower())
        if sla["property"] == "retention" and isinstance(sla["value"], int) and days is not None:
            return int(sla["value"] * days)
    return None


def _governance(odcs: Mapping[str, Any], custom: Mapping[str, Any]) -> dict[str, Any]:
    """The contract's governance; its owner is the team's unless it says so itself."""
    team = odcs.get("team") or {}
    members = team if isinstance(team, list) else team.get("members") or []
    owners = [m["username"] for m in members if str(m.get("role", "")).lower() == "owner"]
    return {**({"owner": owners[0]} if owners else {}), **(custom.get("governance") or {})}


_PARTITION = re.compile(
    r"(?:(day|month|year|hour)\(\s*([^,()]+?)\s*\)|(bucket|truncate)\(\s*\d+\s*,\s*([^,()]+?)\s*\)|([^,()]+))"
)
INGEST_DATE = "ingest_date"
"""A metadata column that the target adds where a contract partitions by it."""


def _target(
    said: Mapping[str, Any],
    properties: list[dict[str, Any]],
    found: tuple[Column, ...],
    document: Document,
    findings: list[Finding],
    place: tuple[PathPart, ...],
) -> ContractTarget:
    marked = sorted((p.get("partitionKeyPosition") or 0, p["name"]) for p in properties if p.get("partitioned"))
    partitioning = tuple(said.get("partitioning") or (name for _, name in marked))
    names = {c.name: c for c in found}
    for i, term in enumerate(partitioning):
        match = _PARTITION.fullmatch(term.strip())
        column = (match[2] or match[4] or match[5]).strip() if match else None
        where = (*place[:-1], "target", "partitioning", i) if said.get("partitioning") else place
        if column is None or (column not in names and column != INGEST_DATE):
            problem = f"partitioning by '{term}', which is neither a column nor a transform of one"
            remedy = "write a column, or day(c), month(c), year(c), hour(c), bucket(n, c), truncate(n, c)"
            findings.append(document.finding("DTV047", where, problem, remedy))
        elif column in names and names[column].type in {"struct", "list", "map"}:
            problem = f"'{column}' is a {names[column].type} and cannot partition a table"
            findings.append(document.finding("DTV047", where, problem, "partition by a plain column"))
    sort_by = tuple(said.get("sort_by") or ())
    for i, term in enumerate(sort_by):
        column = re.sub(r"\s+(?:asc|desc)$", "", term.strip(), flags=re.IGNORECASE)
        if column not in names or names[column].type in {"struct", "list", "map"}:
            where = (*place[:-1], "target", "sort_by", i)
            problem = f"sorting by '{term}', which is not a plain column"
            findings.append(document.finding("DTV047", where, problem, "write `column` or `column desc`"))
    return ContractTarget(
        file_format=said.get("file_format"), partitioning=partitioning, sort_by=sort_by, mode=said.get("mode")
    )
