"""Checks across the files of one job, each a function in a table; a new lint is a function, a line and two examples."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dativo.config.diagnostics import did_you_mean, listed
from dativo.config.places import format_refused, place_missing, place_of_another
from dativo.config.plugins import SECRET_SHAPES
from dativo.config.policies import mask_refused
from dativo.config.table_names import UNSAFE
from dativo.config.write_mode import reads_files, write_mode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dativo.config.diagnostics import Finding, PathPart
    from dativo.config.job_case import JobCase
    from dativo.config.model.contract import Contract
    from dativo.config.model.resolved import SourceObject
    from dativo.config.yamlio import Document

WITHOUT_CURSOR = frozenset({"full_refresh", "file_modified_time", "spreadsheet_modified_time", "log_based"})
_SECRET_KEY = re.compile(
    r"(?i)(?:^|[_-])(?:password|passwd|secret|token|api[_-]?key|private[_-]?key|secret[_-]?access[_-]?key|client[_-]?secret|"
    r"account[_-]?key|connection[_-]?string|access[_-]?token|credentials?)$|^(?:password|passwd|pwd)"
)
_VARIABLE = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-([^}]*))?\}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def not_in_cloud(case: JobCase) -> Iterator[Finding]:
    """DTV033."""
    for role, recipe in (("source", case.source), ("target", case.target)):
        if recipe is not None and case.mode == "cloud" and not recipe.connector_type.allowed_in_cloud:
            problem = f"{recipe.recipe.type} may only run self-hosted: it needs the company's network"
            yield case.document.finding("DTV033", (f"{role}_connector",), problem, "run it with --mode self_hosted")


def inline_secret(case: JobCase) -> Iterator[Finding]:
    """DTV036."""
    yield from inline_secrets(case.document, ("source", "target"))
    for recipe in (case.source, case.target):
        if recipe is not None:
            yield from inline_secrets(recipe.document, ("default_engine", "connection_template"))


def inline_secrets(document: Document, sections: tuple[str, ...]) -> Iterator[Finding]:
    """Texts below some keys that look like secrets rather than like their names; the text itself is never shown."""
    for section in sections:
        for place, key, text in _texts(document.data.get(section), (section,)):
            if not (_SECRET_KEY.search(key) or SECRET_SHAPES.search(text)) or not text:
                continue
            rest = _VARIABLE.sub("", text)
            default = next((m[1] for m in _VARIABLE.finditer(text) if m[1]), None)
            if rest != text and not (_SECRET_KEY.search(key) and default):
                continue
            if rest != text:
                problem, severity = f"the default of '{key}' is a secret in a file", "warning"
            else:
                problem, severity = f"'{key}' holds a secret itself", "error"
            remedy = (
                "write ${NAME} and put the value below secrets/<tenant>/ or into the environment; replace the secret"
            )
            yield document.finding("DTV036", place, problem, remedy, severity)  # type: ignore[arg-type]


def _texts(value: Any, place: tuple[PathPart, ...]) -> Iterator[tuple[tuple[PathPart, ...], str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, str):
                yield (*place, key), key, inner
            elif isinstance(inner, (dict, list)):
                yield from _texts(inner, (*place, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _texts(inner, (*place, i))


def unsafe_object(case: JobCase) -> Iterator[Finding]:
    """DTV024 for objects; tenants and jobs are judged when their file is read."""
    for item in case.job.source.objects if case.job else ():
        if not re.fullmatch(r"[^\x00-\x1f\x7f/\\]{1,200}", item.name) or ".." in item.name:
            problem = f"{item.name!r} cannot be the name of an object: it becomes part of paths and messages"
            yield case.document.finding("DTV024", case.object_place(item), problem, "give it another name with object:")


def bad_table_name(case: JobCase) -> Iterator[Finding]:
    """DTV050. Nessie reads @ and # as references; others fail in the catalog or in SQL."""
    job = case.job
    if job is None:
        return
    if job.target.namespace is not None:
        for level in job.target.namespace.split("."):
            yield from _name_finding(case.document, ("target", "namespace"), "namespace", level)
    if job.target.table is not None:
        yield from _name_finding(case.document, ("target", "table"), "table", job.target.table)
    for item in job.source.objects:
        contract = item.contract
        document = case.project.load(contract.path, [])
        if document is not None:
            yield from contract_names(document, contract, table=job.target.table, namespace=job.target.namespace)


def contract_names(
    document: Document, contract: Contract, *, table: str | None = None, namespace: str | None = None
) -> Iterator[Finding]:
    """Names of a contract that become names in the lake; a job's `table` and `namespace` stand in for its own."""
    base: tuple[PathPart, ...] = ("asset",) if contract.spelling == "nested" else ()
    if table is None:
        yield from _name_finding(document, (*base, "name"), "table", contract.name)
    if namespace is None and contract.domain is not None:
        for level in contract.domain.split("."):
            yield from _name_finding(document, (*base, "domain"), "namespace", level)
    for column in contract.columns:
        if not column.name or _CONTROL.search(column.name):
            problem = f"{column.name!r} cannot be a column's name"
            yield document.finding("DTV050", (*base, "schema"), problem, "remove control characters")


def _name_finding(document: Document, place: tuple[PathPart, ...], kind: str, name: str) -> Iterator[Finding]:
    bad = UNSAFE.search(name)
    if bad or not name or "${" in name:
        what = repr(bad[0]) if bad else "an empty name"
        problem = f"{name!r} cannot be the name of a {kind}: lake catalogs refuse or misread {what}"
        yield document.finding(
            "DTV050", place, problem, f"use letters, digits, '_' and '-'; a job can set target.{kind}"
        )


def contract_elsewhere(case: JobCase) -> Iterator[Finding]:
    """DTV051."""
    for item in case.job.source.objects if case.job else ():
        contract, place = item.contract, case.object_place(item)
        if contract.tenant and contract.tenant.lower() != case.draft.tenant.lower() and "${" not in contract.tenant:
            problem = f"the contract {contract.file} belongs to tenant '{contract.tenant}'"
            remedy = "make a contract of your own, or remove tenant from it when tenants share it"
            yield case.document.finding("DTV051", place, problem, remedy, "warning")
        source = case.job.source if case.job else None
        if contract.source_type and source and contract.source_type not in {source.type, source.connector}:
            problem = f"the contract {contract.file} is for {contract.source_type}, and the job reads {source.type}"
            yield case.document.finding("DTV051", place, problem, "name the right contract with asset_path", "warning")


def strategy_not_supported(case: JobCase) -> Iterator[Finding]:
    """DTV060."""
    if case.job is None:
        return
    source = case.job.source
    strategies = source.connector_type.incremental_strategies
    strategy = source.incremental.strategy
    if strategy != "full_refresh" and (strategy not in strategies or not source.connector_type.supports_incremental):
        document, place = _said(case, ("source", "incremental", "strategy"), ("incremental", "strategy"))
        problem = f"{source.type} cannot be read by the strategy '{strategy}'"
        yield document.finding("DTV060", place, problem, f"use one of: {listed({*strategies, 'full_refresh'})}")
    if source.incremental.detects_deletes and "detect_deletes" not in source.connector_type.settings_from:
        document, place = _said(case, ("source", "detect_deletes"), ("detect_deletes",))
        problem = f"{source.type} has no keys to compare"
        yield document.finding("DTV060", place, problem, "remove detect_deletes, or read all with full_refresh")


def cursor_missing(case: JobCase) -> Iterator[Finding]:
    """DTV061."""
    for item in _incremental_objects(case):
        if item.cursor_field is None:
            strategy = case.job.source.incremental.strategy if case.job else ""
            problem = f"the strategy '{strategy}' needs a cursor for '{item.name}'"
            remedy = "add cursor_field: <column> to source.incremental or to the table"
            yield case.document.finding("DTV061", case.object_place(item), problem, remedy)


def cursor_not_a_column(case: JobCase) -> Iterator[Finding]:
    """DTV062. The tap reads only what the contract names, so it could not read its cursor."""
    for item in _incremental_objects(case):
        names = item.contract.column_names
        if item.cursor_field is not None and item.cursor_field not in names:
            problem = f"the cursor '{item.cursor_field}' of '{item.name}' is not a column of {item.contract.file}"
            remedy = (
                f"add the column to the contract, set cursor_field to one of: {listed(names, 30)}, or read all of it each "
                "time: source.incremental.strategy: full_refresh"
            )
            place = case.object_place(item)
            for candidate in ((*place, "cursor_field"), ("source", "incremental", "cursor_field")):
                if case.document.written(candidate) == item.cursor_field:
                    place = candidate
            yield case.document.finding("DTV062", place, f"{problem}{did_you_mean(item.cursor_field, names)}", remedy)


def _incremental_objects(case: JobCase) -> Iterator[SourceObject]:
    if case.job is not None and case.job.source.incremental.strategy not in WITHOUT_CURSOR:
        yield from case.job.source.objects


def append_refused(case: JobCase) -> Iterator[Finding]:
    """DTV063 (protocol, rule 11)."""
    job = case.job
    if job is None or reads_files(job) or job.target.at_least_once:
        return
    for item in job.source.objects:
        if write_mode(job, item.contract) != "append" or job.source.incremental.is_full_refresh:
            continue
        lookback = job.source.incremental.lookback
        if job.source.incremental.is_log_based:
            problem = f"'{item.name}' would be appended, and the log also tells of rows that change and go"
            remedy = f"add primaryKey: true to the key columns of {item.contract.file}"
            yield case.document.finding("DTV063", case.object_place(item), problem, remedy)
            continue
        if job.source.connector_type.resume == "exclusive" and not lookback:
            continue
        why = f"reads rows again ({lookback})" if lookback else "may read the row at the bookmark again"
        problem = f"'{item.name}' would be appended, and {job.source.type} {why}: rows would be doubled"
        remedy = f"add primaryKey: true to a column of {item.contract.file}, or accept doubles with target.at_least_once: true"
        yield case.document.finding("DTV063", case.object_place(item), problem, remedy)


def write_mode_refused(case: JobCase) -> Iterator[Finding]:
    """DTV064."""
    job = case.job
    if job is None or job.target.write_mode is None:
        return
    place: tuple[PathPart, ...] = ("target", "write_mode")
    mode, full = job.target.write_mode, job.source.incremental.is_full_refresh
    if mode == "replace" and not full:
        problem = f"replace would drop all rows that strategy '{job.source.incremental.strategy}' does not read again"
        yield case.document.finding(
            "DTV064", place, problem, "use source.incremental.strategy: full_refresh, or another write mode"
        )
    if mode == "append" and full and not job.target.at_least_once and not reads_files(job):
        problem = "append after a full refresh adds every row again with each run"
        yield case.document.finding("DTV064", place, problem, "use replace or upsert, or target.at_least_once: true")
    for item in job.source.objects:
        if mode == "upsert" and not item.contract.key:
            problem = f"upsert needs a key, and {item.contract.file} has none"
            yield case.document.finding(
                "DTV064", place, problem, "add primaryKey: true (and required: true) to its key columns"
            )


def rounds_refused(case: JobCase) -> Iterator[Finding]:
    """DTV066 (protocol, rule 15)."""
    job = case.job
    if job is None or job.target.publish_every_s is None:
        return
    for item in job.source.objects:
        if write_mode(job, item.contract) == "replace":
            problem = f"the table of '{item.name}' is replaced as a whole, so it cannot be published in rounds"
            remedy = "remove target.publish_every_s, or read the object incrementally"
            yield case.document.finding("DTV066", ("target", "publish_every_s"), problem, remedy)


def hard_delete_refused(case: JobCase) -> Iterator[Finding]:
    """DTV067."""
    job = case.job
    if job is None:
        return
    for item in job.source.objects:
        mode = write_mode(job, item.contract)
        if mode == "append" and job.target.hard_delete:
            problem = f"'{item.name}' is appended, so a row that the source deletes could not be found"
            remedy = f"add primaryKey: true to a column of {item.contract.file}, or remove target.hard_delete"
            yield case.document.finding("DTV067", ("target", "hard_delete"), problem, remedy)
        if mode != "upsert" and job.source.incremental.detects_deletes:
            document, place = _said(case, ("source", "detect_deletes"), ("detect_deletes",))
            if mode == "append":
                problem = f"'{item.name}' is appended, so a row that the source deletes could not be found"
                remedy = f"add primaryKey: true to a column of {item.contract.file}, or remove detect_deletes"
            else:
                problem = f"'{item.name}' is replaced as a whole, and has no rows that are gone"
                remedy = "remove detect_deletes, or read incrementally"
            yield document.finding("DTV067", place, problem, remedy)


_BRANCH = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:[./][A-Za-z0-9_-]+)*")
"""What is a branch to every version of Nessie, and nothing else: `@`, `#`, `*` and `:` point to other branches and commits, `%`
and `$` are read once more on the way."""


def is_branch_of(tenant: str, name: str) -> bool:
    """Whether a job of a tenant may publish on a branch: the tenant's name, or one below it."""
    return bool(_BRANCH.fullmatch(name)) and (name == tenant or name.startswith(f"{tenant}/"))


def branch_refused(case: JobCase) -> Iterator[Finding]:
    """DTV068."""
    job = case.job
    if job is None:
        return
    tenant, branch = job.tenant, job.target.branch
    if branch is not None and not is_branch_of(tenant, branch):
        problem = f"{branch!r} is no branch of tenant '{tenant}'"
        remedy = f"write {tenant} or {tenant}/<name>: letters, digits, dots, hyphens and underscores"
        yield case.document.finding("DTV068", ("target", "branch"), problem, remedy)
    elif branch is None and "nessie" in job.target.connection and not is_branch_of(tenant, tenant):
        problem = f"Nessie has no branch of the name '{tenant}', on which the tables of this tenant would lie"
        remedy = "give the tenant a name that begins with a letter and does not end with a dot"
        yield case.document.finding("DTV068", ("tenant_id",), problem, remedy)


def one_table_many_objects(case: JobCase) -> Iterator[Finding]:
    """DTV065."""
    job = case.job
    if job is None:
        return
    if job.target.table is not None and len(job.source.objects) > 1:
        problem = f"{len(job.source.objects)} objects would write the one table '{job.target.table}'"
        yield case.document.finding(
            "DTV065", ("target", "table"), problem, "remove target.table: each contract names its table"
        )
        return
    first: dict[tuple[str | None, str], SourceObject] = {}
    for item in job.source.objects:
        namespace = job.target.namespace or item.contract.domain or job.source.type
        twin = first.setdefault((namespace.lower(), item.contract.name.lower()), item)
        if twin is not item:
            problem = f"'{twin.name}' and '{item.name}' would both write the table '{item.contract.name}'"
            fix = "give each object a contract whose name no other has, in whatever case"
            yield case.document.finding("DTV065", case.object_place(item), problem, fix)


def _said(
    case: JobCase, in_job: tuple[PathPart, ...], in_recipe: tuple[PathPart, ...]
) -> tuple[Document, tuple[PathPart, ...]]:
    """The file that says a value of the source: the job, else the recipe, else the job all the same."""
    if case.document.written(in_job) is not None or case.source is None:
        return case.document, in_job
    if case.source.document.written(in_recipe) is not None:
        return case.source.document, in_recipe
    return case.document, in_job


JOB_LINTS: dict[str, Callable[[JobCase], Iterator[Finding]]] = {
    "DTV024": unsafe_object,
    "DTV033": not_in_cloud,
    "DTV036": inline_secret,
    "DTV050": bad_table_name,
    "DTV051": contract_elsewhere,
    "DTV052": place_missing,
    "DTV053": place_of_another,
    "DTV060": strategy_not_supported,
    "DTV061": cursor_missing,
    "DTV062": cursor_not_a_column,
    "DTV063": append_refused,
    "DTV064": write_mode_refused,
    "DTV065": one_table_many_objects,
    "DTV066": rounds_refused,
    "DTV067": hard_delete_refused,
    "DTV068": branch_refused,
    "DTV069": format_refused,
    "DTV081": mask_refused,
}
"""Code -> its check; the codes that are not here are found where files are read and names are looked up."""
