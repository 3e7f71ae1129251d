"""Project Nessie: its Iceberg REST catalog on one branch, and its branches by its own API (version 2).

Works with servers from 0.99 on. What is done for old ones says when it can go.
"""

from __future__ import annotations

import copy
import json
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pyiceberg.exceptions import NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.update import SetPropertiesUpdate

from target_iceberg.load_plan import nessie_server
from target_iceberg.table.file_io import FILE_IO
from target_iceberg.table.lake_catalog import NessieError, ensure_namespace
from target_iceberg.table.rest import BoundedAdapter, BoundedRestCatalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyiceberg.io import FileIO
    from pyiceberg.table import CommitTableResponse
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.update import TableRequirement, TableUpdate
    from requests import PreparedRequest, Response
    from requests.adapters import HTTPAdapter

_CLIENT_PROPERTIES = ("s3.", "gcs.", "adls.", "ssl.", "py-io-impl")


class MergeConflictError(Exception):
    """The target branch has changed in the same tables since the source left it, or has gone; message of the server."""


@dataclass(frozen=True)
class Reference:
    """A branch or tag and the commit that it names."""

    name: str
    hash: str


def commit_of(metadata: TableMetadata) -> str | None:
    """The commit that a branch stood at when a table was loaded from it, or that a change of the table has made."""
    return metadata.properties.get("nessie.commit.id")


@dataclass(frozen=True)
class Commit:
    """One commit of a branch."""

    hash: str
    message: str
    authors: tuple[str, ...]
    committed_at: str
    """ISO 8601, in UTC."""


class NessieCatalog(BoundedRestCatalog):
    """The Iceberg tables of one branch.

    Args:
        name: of the catalog, for messages.
        uri: address of the server, see `nessie_server`.
        branch: whose tables are meant; may carry `@<hash>`.
        properties: PyIceberg's, for authentication and storage.
    """

    def __init__(self, name: str, uri: str, branch: str, **properties: str) -> None:
        self.server, self.branch = nessie_server(uri), branch
        self.opened_at: Reference | None = None
        """Where the branch stood when whoever opened the catalog looked at it."""
        self.head: str | None = None
        """The commit that the last change through this catalog has made, if that is certain."""
        self._given = properties
        self.seeds: dict[tuple[str, ...], Table] = {}
        """Tables that need not be loaded, each once."""
        self.names: dict[tuple[str, ...], set[tuple[str, ...]]] | None = None
        """Namespace -> its tables, on a branch that nobody else writes."""
        self._request = threading.local()
        has_keys = "s3.access-key-id" in properties
        delegation = "none" if has_keys else "vended-credentials"
        super().__init__(
            name,
            **{
                "header.X-Iceberg-Access-Delegation": delegation,
                **properties,
                "uri": f"{self.server}/iceberg/{quote(branch, safe='')}",
                "py-io-impl": FILE_IO,
            },
        )

    def on(self, branch: str) -> NessieCatalog:
        """The same server's tables on another branch."""
        return NessieCatalog(self.name, self.server, branch, **self._given)

    def on_own(self, branch: str, seeds: dict[tuple[str, ...], Table]) -> NessieCatalog:
        """The tables on a branch that nobody else writes; asks the server for as little as that allows.

        Args:
            branch: made just now.
            seeds: tables as they are on it.
        """
        own, other = quote(self.branch, safe=""), quote(branch, safe="")
        prefix = self.properties.get("prefix", "")
        if not prefix.startswith(own):
            twin = self.on(branch)
        else:  # what else the server says of itself does not depend on the branch
            twin = copy.copy(self)
            twin.branch, twin.properties = branch, {**self.properties, "prefix": other + prefix[len(own) :]}
        twin.head, twin.seeds, twin.names = None, dict(seeds), {}
        return twin

    # -- the catalog ------------------------------------------------------------------------------------------------------

    def _adapter(self, verify: str | None) -> HTTPAdapter:
        return _Adapter(self._request, verify)

    def _fetch_config(self) -> None:
        super()._fetch_config()
        # The server says what it takes for its address, which behind a TLS proxy is another one.
        self.uri = f"{self.server}/iceberg"

    def _load_file_io(self, properties: Any = None, location: str | None = None) -> FileIO:
        # The server names the FileIO of another library and its own view of the store; what the client was told wins.
        told = {**self.properties, **self._given, "py-io-impl": FILE_IO}
        said = {k: v for k, v in told.items() if k.startswith(_CLIENT_PROPERTIES)}
        return super()._load_file_io({**(properties or {}), **said}, location)

    def load_table(self, identifier: str | tuple[str, ...]) -> Table:
        """As RestCatalog."""
        name = self.identifier_to_tuple(identifier)
        if (seed := self.seeds.pop(name, None)) is not None:
            return Table(name, seed.metadata, seed.metadata_location, seed.io, self)
        if self.names is not None:
            if name[:-1] not in self.names:
                self.names[name[:-1]] = set(self.list_tables(name[:-1]))
            if name not in self.names[name[:-1]]:
                raise NoSuchTableError(f"there is no table {'.'.join(name)} on {self.branch}")
        table: Table = super().load_table(identifier)
        return table

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """As RestCatalog, for servers that want to know the last column id."""
        self._request.last_column_id = table.metadata.last_column_id
        self.head = None
        if self.names is not None:  # also if the answer to a creation is lost
            self.names.setdefault(table.name()[:-1], set()).add(table.name())
        try:
            done: CommitTableResponse = super().commit_table(table, requirements, _properties_once(updates))
        finally:
            self._request.last_column_id = None
        self.head = commit_of(done.metadata)
        return done

    # -- branches ---------------------------------------------------------------------------------------------------------

    def default_branch(self) -> str:
        """The branch that others are made from."""
        return str(self._call("GET", "config")["defaultBranch"])

    def reference(self, name: str) -> Reference | None:
        """A branch or tag, or None; `name@hash` is that commit of it, if there is such a branch."""
        name, _, at = name.partition("@")
        try:
            found = self._call("GET", f"trees/{quote(name, safe='')}")["reference"]
        except NessieError as e:
            if e.status == 404:
                return None
            raise
        return Reference(found["name"], at or found["hash"])

    def ensure_branch(self, name: str, base: str | None = None) -> Reference:
        """A branch, made from another if it is missing, by default the server's default branch; another process may be
        making it too."""
        if (found := self.reference(name)) is not None:
            return found
        base = base or self.default_branch()
        source = self.reference(base)
        if source is None:
            raise NessieError(404, "REFERENCE_NOT_FOUND", f"there is no branch {base} to make {name} from")
        try:
            return self.create_branch(name, source)
        except NessieError as e:
            found = self.reference(name) if e.status == 409 else None
            if found is None:
                raise
            return found

    def begin_history(self, branch: str, namespace: tuple[str, ...]) -> bool:
        """Make the first commit of a branch, a namespace, if it has none: nothing can be merged into a branch without history.

        Returns:
            Whether it had none.
        """
        entries = self._call("GET", f"trees/{quote(branch, safe='')}/history", params={"max-records": 1})["logEntries"]
        if entries:
            return False
        ensure_namespace(self.on(branch), namespace)
        return True

    def create_branch(self, name: str, source: Reference) -> Reference:
        """A new branch at the commit of another."""
        body = {"type": "BRANCH", "name": source.name, "hash": source.hash}
        made = self._call("POST", "trees", params={"name": name, "type": "BRANCH"}, json=body)["reference"]
        return Reference(made["name"], made["hash"])

    def delete_branch(self, reference: Reference) -> None:
        """Delete a branch if it still stands there; one that is gone is fine."""
        place = f"{quote(reference.name, safe='')}@{reference.hash}"
        try:
            self._call("DELETE", f"trees/{place}", params={"type": "BRANCH"})
        except NessieError as e:
            if e.status != 404:
                raise

    def branches(self, prefix: str) -> list[Reference]:
        """All branches whose names begin so."""
        found: list[Reference] = []
        page: dict[str, str] = {}
        while True:
            answer = self._call("GET", "trees", params={"filter": f"ref.name.startsWith('{prefix}')", **page})
            found += [Reference(r["name"], r["hash"]) for r in answer["references"] if r["type"] == "BRANCH"]
            if not answer.get("hasMore"):
                return found
            page = {"page-token": answer["token"]}

    def merge(self, source: Reference, target: Reference, message: str, author: str) -> str:
        """Bring the commits of a branch to another one as one commit; returns the target's new hash.

        Asked again after its answer was lost, the server says that there is nothing left to merge, which is as good.

        Args:
            source: branch and commit that are merged.
            target: branch, and the commit from which the source was made.
            message: of the commit.
            author: of the commit.

        Raises:
            MergeConflictError: the target has changed in one of the same tables since, or is gone.
            RequestException: the outcome is unknown.
        """
        body = {
            "fromRefName": source.name,
            "fromHash": source.hash,
            "defaultKeyMergeMode": "NORMAL",
            "commitMeta": {"message": message, "authors": [author]},
        }
        place = f"{quote(target.name, safe='')}@{target.hash}"
        try:
            done = self._call("POST", f"trees/{place}/history/merge", json=body)
        except NessieError as e:
            if e.status in (404, 409):
                raise MergeConflictError(str(e)) from e
            raise
        return str(done["resultantTargetHash"])

    def history(self, name: str, down_to: str | None = None) -> Iterator[Commit]:
        """Commits of a branch, newest first; to the one with a hash, which is not among them."""
        page: dict[str, str] = {}
        while True:
            answer = self._call("GET", f"trees/{quote(name, safe='')}/history", params=page)
            for entry in answer["logEntries"]:
                meta = entry["commitMeta"]
                if meta["hash"] == down_to:
                    return
                yield Commit(
                    meta["hash"], meta["message"], tuple(meta.get("authors") or ()), meta.get("commitTime") or ""
                )
            if not answer.get("hasMore"):
                return
            page = {"page-token": answer["token"]}

    def changed_tables(self, before: str, after: str) -> list[tuple[str, ...]]:
        """Tables that differ between two references, by name; namespaces are left out."""
        found: list[tuple[str, ...]] = []
        page: dict[str, str] = {}
        while True:
            place = f"trees/{quote(before, safe='@')}/diff/{quote(after, safe='@')}"
            answer = self._call("GET", place, params=page)
            tables = (d for d in answer["diffs"] if (d.get("to") or d.get("from") or {}).get("type") == "ICEBERG_TABLE")
            found += [tuple(d["key"]["elements"]) for d in tables]
            if not answer.get("hasMore"):
                return found
            page = {"page-token": answer["token"]}

    def assign(self, branch: Reference, to_hash: str) -> Reference:
        """Move a branch to another commit, if it still stands where it stood."""
        body = {"type": "BRANCH", "name": branch.name, "hash": to_hash}
        place = f"trees/{quote(branch.name, safe='')}@{branch.hash}"
        made = self._call("PUT", place, params={"type": "BRANCH"}, json=body)["reference"]
        return Reference(made["name"], made["hash"])

    def _call(self, method: str, path: str, **options: Any) -> Any:
        response = self._session.request(method, f"{self.server}/api/v2/{path}", **options)
        if response.status_code == 401 and "credential" in self.properties:
            self._refresh_token()  # as PyIceberg does for its own requests: tokens live shorter than runs
            response = self._session.request(method, f"{self.server}/api/v2/{path}", **options)
        if response.ok:
            return response.json() if response.content else None
        try:
            said = response.json()
        except ValueError:
            said = {}
        if not isinstance(said, dict):
            said = {}
        message = str(said.get("message") or response.reason or response.text[:200])
        raise NessieError(response.status_code, str(said.get("errorCode") or ""), message)


class _Adapter(BoundedAdapter):
    """Completes the schemas in commits."""

    def __init__(self, request: threading.local, verify: str | None) -> None:
        super().__init__(verify)
        self._request = request

    def send(self, request: PreparedRequest, **options: Any) -> Response:  # type: ignore[override]
        """As HTTPAdapter."""
        if request.method == "POST" and request.body and b'"add-schema"' in _bytes(request.body):
            self._complete(request)
        return super().send(request, **options)

    def _complete(self, request: PreparedRequest) -> None:
        """Add `last-column-id`, which servers before 0.105.2 cannot do without (projectnessie/nessie#11341) and PyIceberg
        0.12 leaves out, as the specification allows; can go with support for those servers."""
        body = json.loads(_bytes(request.body or b""))
        least = getattr(self._request, "last_column_id", None) or 0
        for update in body.get("updates") or ():
            if update.get("action") == "add-schema":
                update.setdefault("last-column-id", max(least, _greatest_id(update["schema"])))
        request.prepare_body(json.dumps(body).encode(), None)


def _properties_once(updates: tuple[TableUpdate, ...]) -> tuple[TableUpdate, ...]:
    """One update of properties instead of several, of which Nessie takes no more than one in a commit."""
    said = {k: v for u in updates if isinstance(u, SetPropertiesUpdate) for k, v in u.updates.items()}
    rest = tuple(u for u in updates if not isinstance(u, SetPropertiesUpdate))
    return (*rest, SetPropertiesUpdate(updates=said)) if said else rest


def _bytes(body: Any) -> bytes:
    return body.encode() if isinstance(body, str) else bytes(body)


def _greatest_id(of_type: Any) -> int:
    """Greatest field id in an Iceberg type as JSON."""
    if not isinstance(of_type, dict):
        return 0
    own: list[int] = [of_type[k] for k in ("element-id", "key-id", "value-id") if k in of_type]
    below = [_greatest_id(of_type[k]) for k in ("element", "key", "value") if k in of_type]
    fields: list[int] = [max(f["id"], _greatest_id(f["type"])) for f in of_type.get("fields") or ()]
    return max((0, *own, *below, *fields))
