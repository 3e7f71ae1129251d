"""`target.connection` -> the lake catalog that a job's tables lie in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dativo.errors import DativoError
from target_iceberg.load_plan import CA_BUNDLE, LakeCatalog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dativo.config.model.resolved import ResolvedJob

S3_PROPERTIES = {
    "endpoint": "s3.endpoint",
    "access_key_id": "s3.access-key-id",
    "secret_access_key": "s3.secret-access-key",
    "session_token": "s3.session-token",
    "region": "s3.region",
}
"""Our words -> PyIceberg's."""
AZURE_PROPERTIES = {
    "account_name": "adls.account-name",
    "account_key": "adls.account-key",
    "connection_string": "adls.connection-string",
    "sas_token": "adls.sas-token",
    "endpoint": "adls.endpoint",
}
"""The last three are the target's own words or PyIceberg's; it takes them apart when they are expanded."""
GS_PROPERTIES = {"token": "gcs.oauth2.token", "endpoint": "gcs.service.host", "project_id": "gcs.project-id"}


def lower(job: ResolvedJob) -> LakeCatalog:
    """Nessie, any PyIceberg catalog, the tenant's embedded lake, or folders with manifests in an object store."""
    connection = job.target.connection
    if job.target.connector_type.category == "object_store":
        return LakeCatalog(kind="files", name=job.target.type, properties=_folders(job, connection))
    for word, make in _KINDS.items():
        if word in connection:
            return make(job, connection)
    return LakeCatalog(kind="embedded", path=f"lake/{job.tenant}", properties=_elsewhere(job, connection))


def _folders(job: ResolvedJob, connection: Mapping[str, Any]) -> dict[str, str]:
    """Properties of an object store; the tables of a tenant lie below a folder of its name."""
    properties = _storage(job, connection)
    place = properties.get("warehouse", "").rstrip("/")
    if not place:
        group, word = ("azure", "container") if job.target.type == "azure_blob" else ("s3", "bucket")
        raise DativoError(
            f"{job.path}: the target '{job.target.connector}' does not say where files go; set target.connection.{group}.{word}, "
            "or target.warehouse"
        )
    return {**properties, "warehouse": place if place.rpartition("/")[2] == job.tenant else f"{place}/{job.tenant}"}


def _elsewhere(job: ResolvedJob, connection: Mapping[str, Any]) -> dict[str, str]:
    """Properties of an embedded lake whose files lie elsewhere, below a directory of the tenant; {} when they do not."""
    properties = _storage(job, connection)
    warehouse = properties.get("warehouse", "")
    if "://" not in warehouse and not warehouse.startswith("/"):
        return {}
    return {**properties, "warehouse": f"{warehouse.rstrip('/')}/{job.tenant}"}


def _nessie(job: ResolvedJob, connection: Mapping[str, Any]) -> LakeCatalog:
    nessie = {k.replace("oauth2_server_uri", "oauth2-server-uri"): v for k, v in _texts(connection["nessie"]).items()}
    storage = {k: v for k, v in _storage(job, connection).items() if k != "warehouse"}  # the server has its own
    may_make = nessie.pop("create_branch", "true") == "true"
    properties = {"uri": nessie.pop("uri", ""), **nessie, **storage}
    return LakeCatalog(
        kind="nessie",
        properties=properties,
        branch=job.target.branch or job.tenant,
        base_branch=job.target.base_branch,
        create_branch=may_make,
    )


def _pyiceberg(job: ResolvedJob, connection: Mapping[str, Any]) -> LakeCatalog:
    catalog = _texts(connection["catalog"])
    name = catalog.pop("name", "dativo")
    return LakeCatalog(kind="pyiceberg", name=name, properties={**_storage(job, connection), **catalog})


_KINDS: dict[str, Callable[[ResolvedJob, Mapping[str, Any]], LakeCatalog]] = {"nessie": _nessie, "catalog": _pyiceberg}


def _storage(job: ResolvedJob, connection: Mapping[str, Any]) -> dict[str, str]:
    s3 = _texts(connection.get("s3") or {})
    trusted = {CA_BUNDLE: str(connection["ca_bundle"])} if connection.get("ca_bundle") else {}
    properties = trusted | {ours: s3[word] for word, ours in S3_PROPERTIES.items() if word in s3}
    if s3.get("path_style_access") == "false":
        properties["s3.force-virtual-addressing"] = "true"
    if job.target.warehouse:
        properties["warehouse"] = job.target.warehouse
    elif "bucket" in s3:
        properties["warehouse"] = f"s3://{'/'.join(p.strip('/') for p in (s3['bucket'], s3.get('prefix', '')) if p)}"
    for scheme, group, words in (("abfs", "azure", AZURE_PROPERTIES), ("gs", "gs", GS_PROPERTIES)):
        said = _texts(connection.get(group) or {})
        place = [p.strip("/") for p in (said.pop("container", said.pop("bucket", "")), said.pop("prefix", "")) if p]
        if place:
            properties.setdefault("warehouse", f"{scheme}://{'/'.join(place)}")
        properties |= {words.get(word, word): value for word, value in said.items()}
    return properties


def _texts(settings: Mapping[str, Any]) -> dict[str, str]:
    """PyIceberg takes text only: true becomes "true"."""
    return {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in settings.items() if v is not None}
