"""`target.connection`: where lake catalog and object store are."""

from __future__ import annotations

from typing import Any

from dativo.config.model.base import Authored, Settings


class Nessie(Authored):
    """A Nessie server; `uri` is its address, with or without /api/v1, /api/v2 or /iceberg behind it."""

    uri: str
    token: str | None = None
    warehouse: str | None = None
    credential: str | None = None
    oauth2_server_uri: str | None = None
    scope: str | None = None
    create_branch: bool = True
    """Whether a job's branch is made when it is missing, and `dativo run --branch` may make one."""


class S3(Authored):
    """A store that speaks S3."""

    endpoint: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    path_style_access: bool | str | None = None


class Azure(Authored):
    """Azure Blob Storage."""

    account_name: str | None = None
    account_key: str | None = None
    connection_string: str | None = None
    sas_token: str | None = None
    endpoint: str | None = None
    container: str | None = None
    prefix: str | None = None


class TargetConnection(S3):
    """By group, or flat for the object store alone."""

    nessie: Nessie | None = None
    s3: S3 | None = None
    azure: Azure | None = None
    gs: Settings | None = None
    catalog: dict[str, Any] | None = None
    """PyIceberg's properties of a lake catalog: {type: rest, uri: ..}."""
    ca_bundle: str | None = None
    """File with the certificates to trust in place of the system's, by lake catalog and object store."""
    account_name: str | None = None
    account_key: str | None = None
    connection_string: str | None = None
    sas_token: str | None = None
    container: str | None = None


CONNECTION_GROUPS = ("nessie", "s3", "azure", "gs", "catalog", "ca_bundle")
