"""Opening the lake catalog that a load plan names, and saying plainly why it cannot be opened."""

from __future__ import annotations

import os
import re
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pyiceberg.catalog import load_catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    NotInstalledError,
    OAuthError,
    RESTError,
    ServerError,
    ServiceUnavailableError,
    TooManyRequestsError,
    UnauthorizedError,
)
from pyiceberg.utils.config import Config
from requests.exceptions import RequestException
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError

from target_iceberg.errors import RetryableError, TargetError
from target_iceberg.load_plan import CA_BUNDLE, LakeCatalog, LoadPlanError, expand, project_root
from target_iceberg.table.file_io import FILE_IO

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.catalog import Catalog
    from pyiceberg.table import Table

    from target_iceberg.table.nessie import NessieCatalog


class NessieError(Exception):
    """Nessie refuses a request of its own API; the message is the server's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} (HTTP {status}{f', {code}' if code else ''})")
        self.status, self.code = status, code


UNKNOWN_OUTCOME = (
    RequestException,
    ServerError,
    ServiceUnavailableError,
    CommitStateUnknownException,
    OperationalError,
    TooManyRequestsError,
)
"""After these a commit may or may not have landed: the table must be read again before anything else is done."""

BUSY_TIMEOUT_S = 30


def catalog_error(e: BaseException, where: str) -> TargetError:
    """Translate what a catalog library raised into a message with a remedy."""
    if isinstance(e, (UnauthorizedError, ForbiddenError, OAuthError)) or (
        isinstance(e, NessieError) and e.status in (401, 403)
    ):
        return TargetError(
            f"{where}: the lake catalog refuses access: {e}; check the credentials of the target", "lake"
        )
    text = str(getattr(e, "orig", None) or e).splitlines()[0][:500]
    lowered = text.lower()
    if "certificate_verify_failed" in lowered:
        return TargetError(
            f"{where}: the certificate of the server is not one to trust: {text}; name the certificate of its authority with "
            "connection.ca_bundle",
            "lake",
        )
    if "readonly" in lowered or "read-only" in lowered or "unable to open" in lowered:
        return TargetError(
            f"{where}: the lake catalog cannot be written: {text}; check permissions of the directory", "storage"
        )
    if "disk is full" in lowered or "disk i/o error" in lowered:
        return RetryableError(f"{where}: no room for the lake catalog: {text}; free space and run again", "storage")
    if isinstance(e, (*UNKNOWN_OUTCOME, CommitFailedException)) or (isinstance(e, NessieError) and e.status >= 429):
        return RetryableError(f"{where}: the lake catalog does not answer as it should: {text}", "lake")
    return TargetError(f"{where}: the lake catalog failed: {text}", "lake")


def storage_error(e: OSError, where: str) -> TargetError:
    """Translate a failed read or write of a file of the lake."""
    reason = e.strerror or str(e).splitlines()[0][:500]
    if "AWS Error" in reason or "://" in reason:  # of an object store, as PyArrow or our own requests tell it
        return _object_store_error(reason, where)
    return RetryableError(
        f"{where}: cannot write or read files of the lake: {reason}; nothing was published. Free space or mend "
        "the permissions, then run again",
        "storage",
    )


_REFUSED = re.compile(
    r"ACCESS_DENIED|SIGNATURE|ACCESS_KEY|INVALID_CLIENT_TOKEN|HTTP status: 40[13]|Forbidden|AuthenticationFailed|AuthorizationFailure",
    re.IGNORECASE,
)


def _object_store_error(reason: str, where: str) -> TargetError:
    """What an S3 server, or the way to it, has against a request."""
    if _REFUSED.search(reason):
        return TargetError(
            f"{where}: the object store refuses access: {reason}; check the access key and its secret, and what they may do",
            "storage",
        )
    if re.search("NO_SUCH_BUCKET|NoSuchBucket|ContainerNotFound", reason):
        return TargetError(f"{where}: there is no such bucket: {reason}; make it, or name another one", "storage")
    return RetryableError(
        f"{where}: the object store does not answer as it should: {reason}; nothing was published. Run again when it does",
        "storage",
    )


@contextmanager
def lake_errors(where: str) -> Iterator[None]:
    """Let only TargetError out of a block that talks to the catalog or its storage."""
    try:
        yield
    except (
        RequestException,
        ServerError,
        ServiceUnavailableError,
        CommitStateUnknownException,
        DBAPIError,
        UnauthorizedError,
        ForbiddenError,
        CommitFailedException,
        RESTError,
        NessieError,
    ) as e:
        raise catalog_error(e, where) from e
    except LoadPlanError as e:
        raise TargetError(f"{where}: {e}", "configuration") from e
    except OSError as e:
        raise storage_error(e, where) from e


@contextmanager
def settings_errors(where: str) -> Iterator[None]:
    """Say that what a catalog library does not understand stands in the settings; for calls that do nothing but read them."""
    try:
        yield
    except (ValueError, NotInstalledError, ArgumentError) as e:
        text = str(e).splitlines()[0][:500]
        raise TargetError(f"{where}: {text}; check the settings of the catalog", "configuration") from e


def embedded_location(catalog: LakeCatalog) -> Path:
    """Directory of an embedded lake: catalog.db and warehouse/."""
    assert catalog.path is not None
    path = Path(expand(catalog.path))
    return path if path.is_absolute() else project_root().resolve() / path


def file_uri(path: Path) -> str:
    """How a local path stands in table metadata: a file URI, which every engine reads; PyIceberg does not escape, so a
    path with characters that a URI gives a meaning to stays a plain path."""
    text = path.as_posix()
    return text if any(c in text for c in "#?%") else f"file://{text}"


def _writable(directory: Path) -> None:
    """Make the embedded lake's directory or say why it cannot be used."""
    directory.mkdir(parents=True, exist_ok=True)
    if not os.access(directory, os.W_OK | os.X_OK):
        mode = stat.filemode(directory.stat().st_mode)
        raise TargetError(
            f"{directory}: the directory of the lake is not writable ({mode}); give the user that runs Dativo "
            "write permission",
            "storage",
        )


def open_catalog(catalog: LakeCatalog, *, create: bool = True) -> Catalog | None:
    """Open the lake catalog; None when `create` is false and an embedded one does not exist yet.

    Raises:
        TargetError: it cannot be reached, read or made.
    """
    if catalog.kind == "nessie":
        return _on_nessie(catalog, create=create)
    if catalog.kind == "files":
        return _folders(catalog)
    if catalog.kind == "pyiceberg":
        where = f"lake catalog {catalog.name}"
        with lake_errors(where), settings_errors(where):
            return _by_pyiceberg(catalog.name, _expanded(catalog))
    directory = embedded_location(catalog)
    if not create and not (directory / "catalog.db").exists():
        return None
    with lake_errors(f"lake {directory}"):
        if create:
            _writable(directory)
        return _embedded(catalog, directory)


def _expanded(catalog: LakeCatalog) -> dict[str, str]:
    """Properties with the values of their variables, and paths below the project root."""
    properties = {k: expand(v) for k, v in catalog.properties.items()}
    if CA_BUNDLE in properties:
        properties[CA_BUNDLE] = str(project_root().resolve() / properties[CA_BUNDLE])
        if not Path(properties[CA_BUNDLE]).is_file():
            raise TargetError(f"ca_bundle: there is no file {properties[CA_BUNDLE]}", "configuration")
    return properties


def _by_pyiceberg(name: str, properties: dict[str, str]) -> Catalog:
    """Any catalog that PyIceberg knows, with our way to talk to a REST server and to a store, unless others are named."""
    from_environment = Config().get_catalog_config(name) or {}
    said = {**from_environment, **properties}
    ours = {"py-io-impl": FILE_IO}
    is_rest = said.get("type", "rest" if str(said.get("uri", "")).startswith("http") else None) == "rest"
    if is_rest and "type" not in from_environment:  # which nobody can take back, and PyIceberg takes one of the two
        ours["py-catalog-impl"] = "target_iceberg.table.rest.BoundedRestCatalog"
        properties.pop("type", None)
    return load_catalog(name, **{**{k: v for k, v in ours.items() if k not in said}, **properties})


def _folders(catalog: LakeCatalog) -> Catalog:
    from target_iceberg.table.files_catalog import FilesCatalog

    properties = _expanded(catalog)
    warehouse = properties.get("warehouse", "")
    where = f"files in {warehouse}"
    with lake_errors(where), settings_errors(where):
        if "://" not in warehouse:  # a directory of the project
            place = Path(warehouse)
            properties["warehouse"] = f"file://{place if place.is_absolute() else project_root().resolve() / place}"
        return FilesCatalog(catalog.name, **{"py-io-impl": FILE_IO, **properties})


def _on_nessie(settings: LakeCatalog, *, create: bool) -> Catalog | None:
    """The catalog on the job's branch, which is made if it is missing; None when it is missing and `create` is false."""
    catalog = nessie_catalog(settings)
    with lake_errors(f"Nessie {catalog.server}, branch {catalog.branch}"):
        if create and not settings.create_branch and catalog.reference(catalog.branch) is None:
            raise TargetError(
                f"Nessie {catalog.server}: there is no branch {catalog.branch}, and connection.nessie.create_branch is false; make the "
                "branch, or name another one with target.branch",
                "configuration",
            )
        if create:
            if settings.base_branch is not None:
                catalog.ensure_branch(settings.base_branch)
            catalog.opened_at = catalog.ensure_branch(catalog.branch, settings.base_branch)
        elif catalog.reference(catalog.branch) is None:
            return None
        return catalog


def nessie_catalog(settings: LakeCatalog) -> NessieCatalog:
    """The catalog on the job's branch, whether or not there is such a branch.

    Raises:
        TargetError: the server cannot be reached, or the settings are wrong.
    """
    from target_iceberg.table.nessie import NessieCatalog

    properties = _expanded(settings)
    uri, branch = properties.pop("uri", ""), settings.branch or "main"
    where = f"Nessie {uri}, branch {branch}"
    with lake_errors(where), settings_errors(where):
        return NessieCatalog(settings.name, uri, branch, **properties)


def warehouse_of(catalog: LakeCatalog) -> str:
    """Where the tables of an embedded lake lie: below its directory, unless the target names another place."""
    named = catalog.properties.get("warehouse")
    return expand(named).rstrip("/") if named else file_uri(embedded_location(catalog) / "warehouse")


def _embedded(catalog: LakeCatalog, directory: Path) -> Catalog:
    properties = {
        "uri": f"sqlite:///{(directory / 'catalog.db').as_posix()}?timeout={BUSY_TIMEOUT_S}",
        "py-io-impl": FILE_IO,
        **_expanded(catalog),
        "warehouse": warehouse_of(catalog),
    }
    try:
        return SqlCatalog(catalog.name, **properties)
    except OperationalError as e:
        # Two first runs at once: both found no tables, the slower CREATE TABLE fails; now they exist.
        if "already exists" not in str(e):
            raise
        return SqlCatalog(catalog.name, **properties)


def load_table(catalog: Catalog, namespace: tuple[str, ...], table: str) -> Table | None:
    """The table as it stands now, or None."""
    try:
        return catalog.load_table((*namespace, table))
    except NoSuchTableError:
        return None


def ensure_namespace(catalog: Catalog, namespace: tuple[str, ...]) -> None:
    """Make a namespace and its parents; another process may be making them too."""
    for depth in range(1, len(namespace) + 1):
        _ensure(catalog, namespace[:depth])


def _ensure(catalog: Catalog, namespace: tuple[str, ...]) -> None:
    try:
        catalog.create_namespace_if_not_exists(namespace)
    except NamespaceAlreadyExistsError:
        return
    except DBAPIError as e:
        if "UNIQUE constraint" not in str(e):
            raise
