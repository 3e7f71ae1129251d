"""Reading and writing files of a lake: bounded in time, patient with stores that are slow for a moment, certificates of one's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import CA_BUNDLE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyarrow.fs import FileSystem

FILE_IO = f"{__name__}.LakeFileIO"
"""Value of PyIceberg's property py-io-impl."""
_DEFAULTS = {
    "s3.connect-timeout": "10",
    "s3.request-timeout": os.environ.get("DATIVO_STORE_TIMEOUT_S") or "20",
    "s3.retry-strategy-impl": f"{__name__}.Patient",
}


class Patient(AwsStandardS3RetryStrategy):  # type: ignore[misc]  # PyArrow has no types
    """AWS's standard: exponential, with jitter, up to 20 s between attempts; a burst of SlowDown lasts longer than three."""

    def __init__(self) -> None:
        super().__init__(max_attempts=8)


class LakeFileIO(PyArrowFileIO):
    """As PyArrowFileIO."""

    def __init__(self, properties: Mapping[str, str] | None = None) -> None:
        super().__init__({**_DEFAULTS, **with_azure_account(properties or {})})

    def _initialize_s3_fs(self, netloc: str | None) -> FileSystem:
        bundle = self.properties.get(CA_BUNDLE)
        if bundle is None:
            return super()._initialize_s3_fs(netloc)
        said = self.properties  # PyIceberg has no word for certificates of a store
        words = {
            "s3.endpoint": "endpoint_override",
            "s3.access-key-id": "access_key",
            "s3.secret-access-key": "secret_key",
            "s3.session-token": "session_token",
            "s3.role-arn": "role_arn",
            "s3.role-session-name": "session_name",
            "s3.proxy-uri": "proxy_options",
        }
        options: dict[str, Any] = {theirs: said[ours] for ours, theirs in words.items() if said.get(ours)}
        return S3FileSystem(
            **options,
            region=said.get("s3.region") or "us-east-1",
            connect_timeout=float(said["s3.connect-timeout"]),
            request_timeout=float(said["s3.request-timeout"]),
            force_virtual_addressing=said.get("s3.force-virtual-addressing") == "true",
            retry_strategy=Patient(),
            tls_ca_file_path=bundle,
        )


CONNECTION_STRING, ENDPOINT = "adls.connection-string", "adls.endpoint"


def with_azure_account(properties: Mapping[str, str]) -> dict[str, str]:
    """Properties in which a connection string, or the address of a blob service, is taken apart as PyArrow wants it.

    Raises:
        TargetError: the connection string is none.
    """
    found = dict(properties)
    text, endpoint = found.pop(CONNECTION_STRING, None), found.pop(ENDPOINT, None)
    if text:
        said = dict(p.split("=", 1) for p in text.strip().strip(";").split(";") if "=" in p)
        names = {
            "AccountName": "adls.account-name",
            "AccountKey": "adls.account-key",
            "SharedAccessSignature": "adls.sas-token",
        }
        found |= {ours: said[theirs] for theirs, ours in names.items() if theirs in said}
        endpoint = endpoint or said.get("BlobEndpoint")
        if "adls.account-name" not in found and not endpoint:
            raise TargetError(
                "the connection string of Azure names no AccountName; copy it whole from the portal's access keys",
                "configuration",
            )
        suffix = said.get("EndpointSuffix")
        if suffix and not endpoint:
            endpoint = f"{said.get('DefaultEndpointsProtocol', 'https')}://{found['adls.account-name']}.blob.{suffix}"
    if endpoint:
        uri = urlsplit(endpoint)
        for service in ("blob", "dfs"):
            found.setdefault(f"adls.{service}-storage-scheme", uri.scheme)
        found.setdefault("adls.blob-storage-authority", uri.netloc)
        host = uri.netloc.replace(".blob.", ".dfs.", 1)
        found.setdefault("adls.dfs-storage-authority", host)
        found.setdefault("adls.account-name", uri.path.strip("/") or uri.netloc.split(".", 1)[0])
    return found
