"""Resolved job -> load plan: every default of writing is decided here and stands explicitly in the plan."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, cast

import msgspec

from dativo.config.write_mode import file_format, reads_files, write_mode
from dativo.lower import lake_catalog, names
from target_iceberg import load_plan, path_pattern
from target_iceberg.load_plan import Column, LoadPlan, Rejects, StreamPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dativo.config.model.contract import Contract
    from dativo.config.model.resolved import ResolvedJob, SourceObject
    from target_iceberg.load_plan import FileFormat

FILE_COLUMNS = (
    Column(name="_sdc_source_file", type="string", doc="File that the row came from."),
    Column(name="_sdc_source_lineno", type="long", doc="Its record in that file; a header is record 1."),
)
MEGABYTE = 1 << 20


def lower(job: ResolvedJob) -> LoadPlan:
    """What the target is told about one job.

    Raises:
        DativoError: the target's connection names no lake catalog that tables could lie in.
    """
    catalog = lake_catalog.lower(job)
    return LoadPlan(
        tenant=job.tenant,
        job=job.name,
        environment=job.environment,
        state_id=names.state_id(job),
        tap=job.source.plugin.name,
        catalog=catalog,
        streams=tuple(_stream(job, item, shared=catalog.kind == "pyiceberg") for item in job.source.objects),
        rejects=Rejects(
            violations=job.violations,
            max_rejected_rows=job.max_rejected_rows,
            max_rejected_percent=job.max_rejected_percent,
        ),
        publish_every_s=job.target.publish_every_s,
        state_dir=names.state_dir(job),
        mask_key_env=job.mask_key_env,
        source_digest=source_digest(job),
    )


def full_refresh_of(plan: LoadPlan) -> LoadPlan:
    """The plan of a run that reads everything again: each table is replaced as a whole, so nothing is there twice."""
    streams = tuple(msgspec.structs.replace(stream, write_mode="replace") for stream in plan.streams)
    return msgspec.structs.replace(plan, streams=streams, publish_every_s=None)


def namespace(job: ResolvedJob, contract: Contract, *, shared: bool) -> tuple[str, ...]:
    """The job's word, else the contract's domain, else the source type; below the tenant's name in a shared catalog."""
    levels = tuple((job.target.namespace or contract.domain or job.source.type).split("."))
    return (f"{job.tenant}__{levels[0]}", *levels[1:]) if shared else levels


def notices(job: ResolvedJob) -> list[str]:
    """What lowering left out of what the files say."""
    said = []
    catalog = lake_catalog.lower(job)
    kind = catalog.kind
    if kind == "embedded" and "warehouse" in catalog.properties:
        said.append(
            f"no lake catalog is named: the embedded one in lake/{job.tenant} is used, with its files below "
            f"{catalog.properties['warehouse']}; name one with target.connection.catalog"
        )
    elif kind == "embedded" and job.target.warehouse is not None:
        said.append(
            f"target.warehouse {job.target.warehouse} is ignored: it is the name of a place in a lake catalog, and none is named"
        )
    if kind != "nessie" and job.target.branch is not None:
        said.append(f"target.branch {job.target.branch} is ignored: this lake catalog has no branches")
    return said


def fingerprint(job: ResolvedJob, item: SourceObject) -> str:
    """What a bookmark is valid for: tap, connection, object, cursor and filter.

    Globs of files are left out: each file has its own bookmark, so a wider glob only adds files.
    """
    what: dict[str, Any] = {
        "tap": job.source.plugin.name,
        "connection": job.source.identity,
        "object": item.name,
        "cursor": item.cursor_field,
        "filter": {} if reads_files(job) else item.selection,
    }
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def source_digest(job: ResolvedJob) -> str:
    """What a run that was killed may be gone on from: everything that the tap is told, secrets aside."""
    what = {
        "plugin": job.source.plugin.executable,
        "settings": job.source.settings,
        "incremental": [job.source.incremental.strategy, job.source.incremental.is_full_refresh],
        "objects": [[item.name, item.cursor_field, item.selection] for item in job.source.objects],
    }
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _stream(job: ResolvedJob, item: SourceObject, *, shared: bool) -> StreamPlan:
    contract, target = item.contract, job.target
    columns = _columns(job, contract)
    form = cast("FileFormat", file_format(job, contract))
    pattern = None if form == "parquet" else target.path_pattern or path_pattern.DEFAULTS[form]
    only_one = len(job.source.objects) == 1
    return StreamPlan(
        stream=item.name,
        namespace=namespace(job, contract, shared=shared),
        table=target.table if target.table and only_one else contract.name,
        columns=columns,
        key=contract.key,
        rules=contract.rules + (path_pattern.rules(item.name, pattern, columns, contract.key) if pattern else ()),
        write_mode=write_mode(job, contract),
        replace_files=reads_files(job),
        # Of a full refresh nobody knows whether its tap goes on from a bookmark or begins again, unless the registry says so.
        resumable=job.source.connector_type.resumes_loads
        or (job.source.connector_type.resume != "none" and write_mode(job, contract) != "replace"),
        evolution=_evolution(job, contract),
        record_metadata=target.add_record_metadata,
        hard_delete=target.hard_delete,
        content_digest=target.content_digest,
        partition_by=partitioning(job, contract),
        sort_by=contract.target.sort_by,
        ingest_date=_fills_ingest_date(job, contract),
        file_format=form,
        path_pattern=pattern,
        properties=_properties(job, contract),
        target_file_size_bytes=(target.target_file_size_mb or 128) * MEGABYTE,
        fingerprint=fingerprint(job, item),
        contract=load_plan.Contract(name=contract.name, version=contract.version, digest=contract.digest),
        allow_empty=target.allow_empty,
        adopt=target.adopt,
        at_least_once=target.at_least_once,
    )


def _columns(job: ResolvedJob, contract: Contract) -> tuple[Column, ...]:
    ours: tuple[Column, ...] = FILE_COLUMNS if reads_files(job) else ()
    if job.target.add_record_metadata:
        ours += load_plan.RECORD_METADATA
    if _fills_ingest_date(job, contract):
        ours += (Column(name=load_plan.INGEST_DATE, type="date", doc="Day (UTC) of the run that loaded the row."),)
    there = set(contract.column_names)
    return (*contract.columns, *(c for c in ours if c.name not in there))


def partitioning(job: ResolvedJob, contract: Contract) -> tuple[str, ...]:
    """The contract's; Parquet files in an object store lie by day of their run unless it says otherwise."""
    if contract.target.partitioning or job.target.connector_type.category != "object_store":
        return contract.target.partitioning
    return (load_plan.INGEST_DATE,) if file_format(job, contract) == "parquet" else ()


def _fills_ingest_date(job: ResolvedJob, contract: Contract) -> bool:
    """Partitioned by a column that no source has."""
    return load_plan.INGEST_DATE in partitioning(job, contract) and load_plan.INGEST_DATE not in contract.column_names


def _evolution(job: ResolvedJob, contract: Contract) -> load_plan.EvolutionMode:
    match job.target.evolution or contract.target.mode:
        case "merge":
            return "merge"
        case "relaxed":
            return "relaxed"
        case _:
            return "strict"


def _properties(job: ResolvedJob, contract: Contract) -> dict[str, str]:
    """What the table says of itself to whoever finds it in the lake catalog."""
    governance = contract.governance | job.governance
    owner = governance.get("owner")
    said: dict[str, Any] = {
        "comment": contract.description,
        "dativo.contract": contract.name,
        "dativo.contract-version": contract.version,
        "dativo.domain": contract.domain,
        "dativo.owner": owner if isinstance(owner, str) else None,
        "dativo.retention-days": contract.retention_days,
        "asset.name": contract.name,
        "asset.version": contract.version,
        "asset.object": contract.object,
        "asset.source-type": contract.source_type,
        "asset.domain": contract.domain,
        "asset.status": contract.status,
        "classification.default": contract.compliance.get("classification"),
        "classification.fields": dict(sorted(contract.classification.items())) or None,
        **_flat("governance", governance),
        **_flat("finops", contract.finops | job.finops),
    }
    return {name: _text(value) for name, value in said.items() if value not in (None, "", [], {})}


def _flat(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`governance: {owner: x, contact: {mail: y}}` as governance.owner and governance.contact.mail."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(f"{prefix}.{key}", value) if isinstance(value, dict) else {f"{prefix}.{key}": value}
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
