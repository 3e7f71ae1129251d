"""configs/policy.yaml applied to jobs: what columns are, how they are masked, and what contracts lack."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import msgspec

from dativo.config.check_model import check_model
from dativo.config.model.policy import ContractEnforcement, Policy
from dativo.config.project import POLICY_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from dativo.config.diagnostics import Finding, Severity
    from dativo.config.job_case import JobCase
    from dativo.config.model.contract import Contract
    from dativo.config.model.resolved import ResolvedJob, SourceObject
    from dativo.config.project import Project
    from target_iceberg.load_plan import Column, Mask

PII = "PII"
_KEEPS_VALUES_APART = "hash"


def load_policy(project: Project, findings: list[Finding]) -> Policy:
    """The project's policy; an empty one where there is no file. Masks are never dropped because a file cannot be read."""
    path = project.root / POLICY_FILE
    if not path.exists():
        return Policy()
    document = project.load(path, findings)
    policy = None if document is None else check_model(Policy, document, findings)
    return policy or Policy()


def applied(policy: Policy, job: ResolvedJob) -> ResolvedJob:
    """The job with its columns classified and masked as the policy says."""
    objects = tuple(replace(o, contract=_contract(policy, o.contract)) for o in job.source.objects)
    is_hashed = any(_masks(c, "hash") for o in objects for c in o.contract.columns)
    key = policy.masking_key if is_hashed else None
    return replace(job, source=replace(job.source, objects=objects), mask_key_env=key)


def _contract(policy: Policy, contract: Contract) -> Contract:
    always = {name.lower() for name in policy.pii_fields}
    masks = {word.lower(): mask for word, mask in policy.masking.items()}
    columns = tuple(_column(c, always, masks) for c in contract.columns)
    if columns == contract.columns:
        return contract
    found = {c.name: c.classification for c in columns if c.classification}
    return replace(contract, columns=columns, classification={**contract.classification, **found})


def _column(column: Column, always: set[str], masks: Mapping[str, Any]) -> Column:
    word = column.classification or (PII if column.name.lower() in always else None)
    mask = masks.get(word.lower()) if word else None
    return msgspec.structs.replace(
        column,
        classification=word,
        mask=None if mask in (None, "none") else mask,
        fields=tuple(_column(c, always, masks) for c in column.fields),
    )


def policy_broken(policy: Policy, case: JobCase) -> Iterator[Finding]:
    """DTV080."""
    said = policy.contract_enforcement
    rules = said if isinstance(said, ContractEnforcement) else ContractEnforcement(mode=said)
    if case.job is None or rules.mode == "off":
        return
    severity: Severity = "error" if rules.mode == "strict" else "warning"
    for item in case.job.source.objects:
        for problem, remedy in (*_lacks(rules, item.contract), *_wrong(policy, item.contract)):
            place = case.object_place(item)
            yield case.document.finding("DTV080", place, f"{item.contract.file}: {problem}", remedy, severity)


def _lacks(rules: ContractEnforcement, contract: Contract) -> Iterator[tuple[str, str]]:
    if rules.require_owner and not contract.governance.get("owner"):
        yield f"the policy wants an owner of '{contract.name}'", "add governance: {owner: ...}"
    if rules.require_primary_key and not contract.key:
        yield f"the policy wants a key of '{contract.name}'", "add primaryKey: true to its key columns"
    if rules.require_description and not contract.description:
        yield f"the policy wants a description of '{contract.name}'", "add description: ..."


def _wrong(policy: Policy, contract: Contract) -> Iterator[tuple[str, str]]:
    listed = policy.classification_rules
    rules = listed.items() if isinstance(listed, dict) else [(r.pattern, r.classification) for r in listed]
    for pattern, word in rules:
        for column in _all_columns(contract.columns):
            if re.search(pattern, column.name) and (column.classification or "").lower() != word.lower():
                now = f"as {column.classification}" if column.classification else "not at all"
                problem = (
                    f"the column '{column.name}' must be classified as {word} ({pattern}), and is classified {now}"
                )
                yield problem, f"add classification: {word}"
    limit = _retention(policy, contract)
    if limit is not None and contract.retention_days is not None and contract.retention_days > limit:
        yield (
            f"it keeps rows {contract.retention_days} days, and the policy {limit}",
            f"write retention_days: {limit} or less",
        )


def _retention(policy: Policy, contract: Contract) -> int | None:
    """The shortest time that the policy gives for the contract's domain or one of its classifications."""
    days = policy.retention_days
    if not isinstance(days, dict):
        return days
    words = {w.lower() for w in (contract.domain, *contract.classification.values()) if w}
    return min((d for word, d in days.items() if word.lower() in words), default=None)


def unmasked_fields(policy: Policy, case: JobCase) -> Iterator[Finding]:
    """DTV081: masks go by column, and a relaxed contract lets in columns that nobody has classified."""
    job = case.job
    if job is None or not set(policy.masking.values()) - {"none"}:
        return
    for item in job.source.objects:
        if (job.target.evolution or item.contract.target.mode) == "relaxed":
            problem = (
                f"{item.contract.file}: fields that a relaxed contract does not name would reach the lake unmasked"
            )
            remedy = "set target.mode to merge and name the fields in the contract, or take masking out of the policy"
            yield case.document.finding("DTV081", case.object_place(item), problem, remedy)


def mask_refused(case: JobCase) -> Iterator[Finding]:
    """DTV081."""
    for item in case.job.source.objects if case.job else ():
        for problem in _mask_problems(item):
            remedy = "change masking in configs/policy.yaml, or the column's classification"
            yield case.document.finding("DTV081", case.object_place(item), f"{item.contract.file}: {problem}", remedy)


def _mask_problems(item: SourceObject) -> Iterator[str]:
    contract = item.contract
    unique = {c for r in contract.rules if r.kind == "unique" for c in r.columns} | set(contract.key)
    partitions = " ".join(contract.target.partitioning)
    for column in contract.columns:
        if column.mask is None:
            continue
        if column.name == item.cursor_field:
            yield f"'{column.name}' is the cursor, and the bookmark would show the values that masking hides"
        if column.name in unique and column.mask != _KEEPS_VALUES_APART:
            yield f"'{column.name}' has to be unique, and mask {column.mask} makes its values equal"
        if column.mask != _KEEPS_VALUES_APART and re.search(rf"\b{re.escape(column.name)}\b", partitions):
            yield f"'{column.name}' partitions the table, and mask {column.mask} makes its values equal"
    for column in _all_columns(contract.columns):
        if column.mask not in (None, "null") and (column.type != "string" or column.encoding is not None):
            yield f"'{column.name}' is no text, and mask {column.mask} gives text; only null can mask it"
        if column.mask == "null" and column.required:
            yield f"'{column.name}' is required, and mask null leaves nothing"


def _all_columns(columns: tuple[Column, ...]) -> Iterator[Column]:
    for column in columns:
        yield column
        yield from _all_columns(column.fields)


def _masks(column: Column, mask: Mask) -> bool:
    return column.mask == mask or any(_masks(c, mask) for c in column.fields)
