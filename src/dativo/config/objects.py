"""What a job reads: its objects, in the words of its connector, each with its contract."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from dativo.config.contracts import Wanted
from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.model.resolved import SourceObject
from dativo.config.table_names import is_pattern, means, object_of

if TYPE_CHECKING:
    from dativo.config.connectors import LoadedRecipe
    from dativo.config.contracts import Contracts
    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.drafts import Draft
    from dativo.config.model.contract import Contract
    from dativo.config.project import Project
    from target_iceberg.load_plan import Rule

KEYS = ("objects", "files", "tables", "sheets")


def entries(
    draft: Draft, connector: LoadedRecipe, contracts: Contracts, findings: list[Finding]
) -> list[dict[str, Any]] | None:
    """The job's objects, files, tables, queries or sheets as mappings that all have `object`; None with findings."""
    source = draft.job.source
    said = {key: getattr(source, key) for key in KEYS if getattr(source, key) is not None}
    connector_type = connector.connector_type
    wanted = connector_type.selection.key if connector_type.selection is not None else next(iter(said), "objects")
    also = {"objects"} if wanted == "tables" else set()
    for key in said:
        if key != wanted and key not in also:
            problem = f"{connector.recipe.type} reads '{wanted}', not '{key}'"
            findings.append(draft.document.finding("DTV037", ("source", key), problem, f"write source.{wanted}"))
    queries = _queries(draft, connector, findings)
    if said and wanted not in said and not also & said.keys() and not queries:
        return None
    if wanted == "objects":
        return _named_objects(draft, connector, said.get("objects"), findings)
    listed_entries = [(("source", wanted, i), entry) for i, entry in enumerate(said.get(wanted) or ())]
    listed_entries += [(("source", "objects", i), name) for i, name in enumerate(said.get("objects") or ()) if also]
    if not listed_entries and not queries:
        problem = f"the job does not say which {wanted} to read"
        findings.append(draft.document.finding("DTV037", ("source", wanted), problem, f"add source.{wanted}: [..]"))
        return None
    found: list[dict[str, Any]] = []
    for place, entry in listed_entries:
        if isinstance(entry, str) and wanted == "tables" and is_pattern(entry):
            found += _by_pattern(entry, place, found, draft, connector, contracts, findings)
        else:
            found.append(_entry(entry, place, draft, connector, findings))
    found += queries
    _refuse_repeated(found, wanted, draft, findings)
    return found


def _entry(
    entry: Any, place: tuple[PathPart, ...], draft: Draft, connector: LoadedRecipe, findings: list[Finding]
) -> dict[str, Any]:
    """One table, file or sheet; a table may be no more than its name."""
    fields = {"name": entry} if isinstance(entry, str) else entry.model_dump(exclude_none=True)
    if not fields.get("options", True):
        del fields["options"]
    fields.setdefault("object", object_of(str(fields.get("name", ""))))
    for name in connector.connector_type.selection.required if connector.connector_type.selection else []:
        if name not in fields:
            problem = f"the key '{name}' is missing"
            findings.append(draft.document.finding("DTV012", (*place, name), problem, f"add {name}: ..."))
    return {**fields, "_place": place}


def _by_pattern(
    pattern: str,
    place: tuple[PathPart, ...],
    already: list[dict[str, Any]],
    draft: Draft,
    connector: LoadedRecipe,
    contracts: Contracts,
    findings: list[Finding],
) -> list[dict[str, Any]]:
    """The tables that a pattern means: those of which a contract says that it is for them.

    What the database has is not asked here; `dativo contract infer` does that, and writes a contract for each table.
    """
    exclude = draft.job.source.exclude or ()
    named = [str(entry.get("name")) for entry in already]
    selection = connector.connector_type.selection
    schema = selection.default_schema if selection is not None else None
    tables = contracts.tables(frozenset({connector.name, connector.recipe.type}), draft.tenant)
    if contracts.is_provisional:
        return [{"name": pattern, "object": pattern, "_place": place}]
    found = [
        {"name": table, "object": object_, "_place": place}
        for table, object_ in sorted(tables.items())
        if means(pattern, table, schema) and not any(means(name, table, schema) for name in (*exclude, *named))
    ]
    if not found:
        problem = f"no contract is for a table that '{pattern}' means"
        remedy = f"make them: dativo contract infer {draft.document.file}"
        findings.append(draft.document.finding("DTV040", place, problem, remedy))
    return found


def _queries(draft: Draft, connector: LoadedRecipe, findings: list[Finding]) -> list[dict[str, Any]]:
    queries = draft.job.source.queries or ()
    if queries and not connector.connector_type.supports_queries:
        problem = f"{connector.recipe.type} takes no queries"
        findings.append(draft.document.finding("DTV037", ("source", "queries"), problem, "remove source.queries"))
        return []
    return [
        {**query.model_dump(exclude_none=True), "object": query.name, "_place": ("source", "queries", i)}
        for i, query in enumerate(queries)
    ]


def _named_objects(
    draft: Draft, connector: LoadedRecipe, names: list[str] | None, findings: list[Finding]
) -> list[dict[str, Any]] | None:
    known = connector.connector_type.objects_supported
    if not names:
        names = list(draft.job.assets or ()) or ([_word(draft.job.asset)] if draft.job.asset else [])
    if not names:
        remedy = f"add source.objects: [..]; {connector.recipe.type} has {listed(known, 30) if known else 'any'}"
        findings.append(draft.document.finding("DTV037", ("source",), "the job does not say what to read", remedy))
        return None
    found = []
    for i, name in enumerate(names):
        place: tuple[PathPart, ...] = ("source", "objects", i) if draft.job.source.objects else ("asset",)
        if known and name not in known and draft.job.source.objects:
            problem = f"{connector.recipe.type} has no object '{name}'{did_you_mean(name, known)}"
            findings.append(draft.document.finding("DTV037", place, problem, f"it has {listed(known, 30)}"))
        found.append({"object": name, "_place": place})
    _refuse_repeated(found, "objects", draft, findings)
    return found


def _word(reference: str) -> str:
    return reference.partition("@")[0].rpartition("/")[2].removesuffix(".yaml").removesuffix(".yml")


def _refuse_repeated(found: list[dict[str, Any]], key: str, draft: Draft, findings: list[Finding]) -> None:
    """Several files may feed one object; tables, sheets and objects may not."""
    seen: set[str] = set()
    for entry in found:
        if entry["object"] in seen and key != "files":
            problem = f"the object '{entry['object']}' is there twice"
            findings.append(draft.document.finding("DTV037", entry["_place"], problem, "give each its own object name"))
        seen.add(entry["object"])


def with_contracts(
    draft: Draft,
    found: list[dict[str, Any]],
    connector: LoadedRecipe,
    contracts: Contracts,
    findings: list[Finding],
    *,
    project: Project,
    cursor_field: str | None,
) -> list[SourceObject]:
    """Objects with their contracts; those whose contract is not found are missing, with findings."""
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for entry in found:
        grouped[entry["object"]].append(entry)
    objects = []
    references = _references(draft, list(grouped), contracts, findings)
    for name, group in grouped.items():
        contract = _contract(draft, name, group[0]["_place"], references, connector, contracts, findings)
        if contract is not None:
            objects.append(
                SourceObject(
                    name=name,
                    contract=bound(contract, name, draft),
                    selection=_selection(group, project),
                    cursor_field=group[0].get("cursor_field") or cursor_field,
                )
            )
    return objects


def _selection(group: list[dict[str, Any]], project: Project) -> dict[str, Any]:
    if "path" in group[0]:
        options = group[0].get("options") or {}
        return {"paths": [project.rendered(e["path"]) for e in group], **options}
    return {k: v for k, v in group[0].items() if k not in {"object", "_place"}}


def _references(
    draft: Draft, objects: list[str], contracts: Contracts, findings: list[Finding]
) -> dict[str, tuple[str, tuple[PathPart, ...]]]:
    """Object -> (what the job calls its contract, where it says so)."""
    job = draft.job
    found: dict[str, tuple[str, tuple[PathPart, ...]]] = {}
    for name, reference in (job.assets or {}).items():
        if name not in objects:
            problem = f"the job reads no object '{name}'{did_you_mean(name, objects)}"
            findings.append(draft.document.finding("DTV037", ("assets", name), problem, f"it reads {listed(objects)}"))
        found[name] = reference, ("assets", name)
    one = (job.asset_path, ("asset_path",)) if job.asset_path else (job.asset, ("asset",)) if job.asset else None
    if one is not None and one[0] is not None:
        owner = objects[0] if len(objects) == 1 else _owner(one[0], objects, contracts)
        found.setdefault(owner, (one[0], one[1]))
    return found


def _owner(reference: str, objects: list[str], contracts: Contracts) -> str:
    """Which of several objects a job's one asset belongs to: the one it names, else the first."""
    word = _word(reference)
    names = {word}
    if "/" in reference:
        path = contracts.project.path(reference)
        for contract in contracts.read(path, []) if path.exists() else []:
            names |= {contract.object, contract.name}
    else:
        names |= contracts.objects_named(word)
    return next((o for o in objects if o in names), objects[0])


def _contract(
    draft: Draft,
    name: str,
    place: tuple[PathPart, ...],
    references: dict[str, tuple[str, tuple[PathPart, ...]]],
    connector: LoadedRecipe,
    contracts: Contracts,
    findings: list[Finding],
) -> Contract | None:
    sources = frozenset({connector.name, connector.recipe.type})
    if name not in references:
        return contracts.by_word(Wanted(name, "object", sources, draft.tenant), draft.document, place, findings)
    reference, said_at = references[name]
    if "/" in reference or reference.endswith((".yaml", ".yml")):
        wanted = Wanted(name, "object", sources, draft.tenant)
    else:
        wanted = Wanted(reference, "name", sources, draft.tenant)
    return contracts.by_reference(reference, wanted, draft.document, said_at, findings)


def bound(contract: Contract, stream: str, draft: Draft) -> Contract:
    """The contract as this job uses it: rules named after the stream, and the job's overrides."""
    changes: dict[str, Any] = {}
    if stream != contract.object and contract.rules:
        changes["rules"] = tuple(_renamed(rule, contract.object, stream) for rule in contract.rules)
    overrides = {c: w for c, w in draft.job.classification_overrides.items() if c in contract.column_names}
    if overrides:
        changes["classification"] = {**contract.classification, **overrides}
        changes["columns"] = tuple(
            msgspec.structs.replace(c, classification=overrides[c.name]) if c.name in overrides else c
            for c in contract.columns
        )
    governance = draft.job.governance_overrides
    if governance is not None:
        changes["governance"] = {**contract.governance, **governance.model_dump(exclude_none=True)}
        if governance.retention_days is not None:
            changes["retention_days"] = governance.retention_days
    return replace(contract, **changes) if changes else contract


def _renamed(rule: Rule, old: str, new: str) -> Rule:
    return msgspec.structs.replace(rule, name=f"{new}{rule.name.removeprefix(old)}")
