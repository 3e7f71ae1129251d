"""Small objects below one place of an object store or disk: read, written under conditions, listed.

For what files of a table cannot do: an object that only one of several writers may make. PyArrow, which reads and writes the
files themselves, has no conditional writes. Properties are PyIceberg's (s3.*, adls.*, gcs.*), so that both open the same store.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import AzureStore, GCSStore, LocalStore, S3Store

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import CA_BUNDLE
from target_iceberg.table.file_io import with_azure_account

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT = timedelta(seconds=30)
CONNECT_TIMEOUT = timedelta(seconds=5)
_RETRY: Any = {
    "max_retries": 10,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=5), "base": 2},
    "retry_timeout": timedelta(seconds=60),
}
"""Of the library, which adds jitter; 5xx, 429 and broken connections are tried again."""


class ObjectStoreError(OSError):
    """A store does not answer as it should; a write may or may not have been done."""


class ObjectStore:
    """Objects below a root, by their path relative to it.

    Args:
        root: URI of a place: s3://bucket/prefix, abfs://container/prefix, gs://bucket/prefix, file:///directory.
        properties: PyIceberg's, for addresses and credentials.

    Raises:
        TargetError: there is no store of this kind, or a connection string is none.
    """

    def __init__(self, root: str, properties: Mapping[str, str]) -> None:
        self.root = root
        self._store = _open(root, with_azure_account(properties))

    def read(self, path: str) -> bytes | None:
        """An object, or None.

        Raises:
            OSError: the store does not answer, or refuses.
        """
        with self._errors(path):
            try:
                return bytes(obstore.get(self._store, path).bytes())
            except (FileNotFoundError, NotFoundError):
                return None

    def create(self, path: str, data: bytes) -> bool:
        """Make an object unless there is one; whether it was made.

        A write that was done and whose answer was lost is told apart by nobody but the caller: read what is there.

        Raises:
            ObjectStoreError: it may have been made.
            OSError: it is refused.
        """
        with self._errors(path):
            try:
                obstore.put(self._store, path, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError, FileExistsError):
                return False
            return True

    def write(self, path: str, data: bytes) -> None:
        """Make an object, or put it in the place of another.

        Raises:
            OSError: as `create`.
        """
        with self._errors(path):
            obstore.put(self._store, path, data, use_multipart=False)

    def delete(self, path: str) -> None:
        """Delete an object; one that is gone is fine.

        Raises:
            OSError: as `create`.
        """
        with self._errors(path):
            try:
                obstore.delete(self._store, path)
            except (FileNotFoundError, NotFoundError):
                return

    def folders(self) -> list[str]:
        """Names of the folders directly below the root.

        Raises:
            OSError: as `read`.
        """
        with self._errors(""):
            found = obstore.list_with_delimiter(self._store)
            return sorted(p.rsplit("/", 1)[-1] for p in found["common_prefixes"])

    @contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        place = f"{self.root}/{path}"
        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as e:
            raise PermissionError(f"{place}: access denied, Forbidden: {_first_line(e)}") from e
        except BaseError as e:
            raise ObjectStoreError(f"{place}: {_first_line(e)}") from e


def _first_line(e: BaseException) -> str:
    return str(e).splitlines()[0][:300]


def _open(root: str, properties: Mapping[str, str]) -> Any:
    uri = urlsplit(root)
    prefix = uri.path.strip("/") or None
    common = {"prefix": prefix, "retry_config": _RETRY}
    if uri.scheme == "s3":
        return S3Store(uri.netloc, **_s3(properties), client_options=_client(properties, "s3.endpoint"), **common)
    if uri.scheme in ("abfs", "abfss"):
        options = _client(properties, "adls.blob-storage-scheme")
        return AzureStore(uri.netloc, **_azure(properties), client_options=options, **common)
    if uri.scheme == "gs":
        options = _client(properties, "gcs.service.host")
        return GCSStore(uri.netloc, **_gcs(properties), client_options=options, **common)
    if uri.scheme == "file":
        return LocalStore(uri.path, mkdir=True)
    raise TargetError(
        f"{root}: no such kind of store; a place is s3://bucket/prefix, abfs://container/prefix, gs://bucket/prefix or "
        "file:///directory",
        "configuration",
    )


def _client(properties: Mapping[str, str], address: str) -> Any:
    options: dict[str, Any] = {"timeout": TIMEOUT, "connect_timeout": CONNECT_TIMEOUT}
    if properties.get(address, "").split("://", 1)[0] == "http":
        options["allow_http"] = True
    if (bundle := properties.get(CA_BUNDLE)) is not None:
        with open(bundle, "rb") as file:  # noqa: PTH123  a path as the user wrote it
            options["root_certificate"] = file.read()
    return options


def _s3(properties: Mapping[str, str]) -> dict[str, Any]:
    words = {
        "s3.endpoint": "endpoint",
        "s3.region": "region",
        "s3.access-key-id": "access_key_id",
        "s3.secret-access-key": "secret_access_key",
        "s3.session-token": "session_token",
    }
    found: dict[str, Any] = {theirs: properties[ours] for ours, theirs in words.items() if properties.get(ours)}
    found["virtual_hosted_style_request"] = properties.get("s3.force-virtual-addressing") == "true"
    if properties.get("s3.anonymous") == "true":
        found["skip_signature"] = True
    return found


def _azure(properties: Mapping[str, str]) -> dict[str, Any]:
    words = {"adls.account-name": "account_name", "adls.account-key": "account_key", "adls.sas-token": "sas_token"}
    found: dict[str, Any] = {theirs: properties[ours] for ours, theirs in words.items() if properties.get(ours)}
    if authority := properties.get("adls.blob-storage-authority"):
        scheme = properties.get("adls.blob-storage-scheme", "https")
        # A name in front is an account's own address; an emulator has the account in the path.
        path = (
            f"/{properties.get('adls.account-name', '')}" if authority[:1].isdigit() or "localhost" in authority else ""
        )
        found["endpoint"] = f"{scheme}://{authority}{path}"
    return found


def _gcs(properties: Mapping[str, str]) -> dict[str, Any]:
    words = {"gcs.oauth2.token": "bearer_token", "gcs.service.host": "base_url"}
    found: dict[str, Any] = {theirs: properties[ours] for ours, theirs in words.items() if properties.get(ours)}
    if properties.get("gcs.service.host") and not properties.get("gcs.oauth2.token"):
        found["skip_signature"] = True
    return found
