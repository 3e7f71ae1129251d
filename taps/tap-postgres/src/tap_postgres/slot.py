"""A replication slot and its publication: made, checked, read without being moved, and moved to what the lake has."""

from __future__ import annotations

import logging
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tap_kit.errors import TapError, TransientError
from tap_postgres.client import Client, connect, connect_to_write
from tap_postgres.pgoutput import changes
from tap_postgres.types import identifier, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tap_postgres.pgoutput import Change
    from tap_postgres.settings import Settings

RELOAD = "dativo run --config <job> --full-refresh"
"""What fills a gap."""
WARN_BYTES = 1 << 30
"""WAL that a slot may hold back before it is told."""
OLDER_TRANSACTIONS_S = 60
"""How long transactions are waited for that began before a table was published."""
_SLOT = """
SELECT confirmed_flush_lsn::text, plugin::text, database = current_database(), coalesce(wal_status, '')::text,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn)::int8, active
FROM pg_catalog.pg_replication_slots WHERE slot_name = {slot}
"""
_CREATE = "SELECT lsn::text FROM pg_catalog.pg_create_logical_replication_slot({slot}, 'pgoutput')"
_PEEK = """
SELECT data FROM pg_catalog.pg_logical_slot_peek_binary_changes({slot}, {upper}::pg_lsn, NULL, 'proto_version', '1', 'publication_names',
  {publications})
"""
_PUBLICATION = """
SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, pubviaroot OR NOT EXISTS (
  SELECT 1 FROM pg_catalog.pg_class c WHERE c.oid IN (SELECT t::regclass FROM unnest(ARRAY[{relations}]) AS t) AND c.relkind = 'p')
FROM pg_catalog.pg_publication WHERE pubname = {publication}
"""
_UNPUBLISHED = """
SELECT t FROM unnest(ARRAY[{relations}]) AS t WHERE t::regclass NOT IN (
  SELECT format('%I.%I', schemaname, tablename)::regclass FROM pg_catalog.pg_publication_tables WHERE pubname = {publication})
"""

_MEMBERSHIPS = """
SELECT t, p.oid::text || '.' || coalesce(r.oid::text, {schema} || 't' || c.oid::text), to_jsonb(r) ->> 'prqual' IS NOT NULL, array_to_string(ARRAY(
  SELECT CASE WHEN x.oid = c.oid THEN t ELSE format('%I.%I', n.nspname, x.relname) END FROM pg_catalog.pg_class x JOIN pg_catalog.pg_namespace n ON n.oid = x.relnamespace
  WHERE x.relreplident <> 'f' AND (x.oid = c.oid OR x.oid IN (SELECT relid FROM pg_catalog.pg_partition_tree(c.oid))) ORDER BY 1
), chr(10))
FROM unnest(ARRAY[{relations}]) AS t JOIN pg_catalog.pg_class c ON c.oid = t::regclass
CROSS JOIN pg_catalog.pg_publication p LEFT JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid AND r.prrelid = c.oid
WHERE p.pubname = {publication}
"""
_OF_SCHEMA = """
coalesce((SELECT 's' || s.oid FROM pg_catalog.pg_publication_namespace s WHERE s.pnpubid = p.oid AND s.pnnspid = c.relnamespace), '')
"""
"""Number of a schema's place in the publication."""
_SCHEMAS_SINCE = 150_000
"""The first version of PostgreSQL whose publications can have schemas."""


class Slot:
    """What a job reads of the log.

    It is only ever peeked at; `confirm` moves it, so that what the lake has not published can be read again.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._name, self._publication = settings.replication_slot, settings.publication
        self.is_prepared = False
        self.memberships: dict[str, str] = {}
        """Table -> number of its place in the publication, or of its schema's and of itself where that has all tables of those or of the
        database: another one when it was taken out and put back, or another table took its name."""
        self.keys_alone: dict[str, list[str]] = {}
        """Table -> it and those of its partitions of whose deleted rows the log has no more than the keys."""
        self._upper: str | None = None

    def prepare(
        self, relations: Sequence[str], followed: Mapping[str, str | None], announce: Callable[..., None]
    ) -> bool:
        """See to it that publication and slot are there; whether one of them is new, and a load has to begin after it.

        Args:
            relations: the tables, as SQL names them.
            followed: those of them that have a bookmark, and their membership as it says.
            announce: takes a warning.

        Raises:
            TapError: the server does not log what is needed, or the role may not make them; says which statement to run. Or something
                was not published for a while.
        """
        self.is_prepared = True
        with closing(connect_to_write(self._settings)) as client:
            level = client.rows("SELECT pg_catalog.current_setting('wal_level')")[0][0]
            if level != "logical":
                raise TapError(
                    f"PostgreSQL {self._settings.where}: wal_level is {level}; changes are only logged with wal_level = logical: set it in "
                    "postgresql.conf and restart the server"
                )
            is_new = self._publish(client, relations, followed)
            found = client.rows(_SLOT.format(slot=literal(self._name)))
            if not found:
                if followed:
                    raise self._gap("is gone")
                self._run(client, _CREATE.format(slot=literal(self._name)))
                announce("slot_created", f"the replication slot {self._name} was created", slot=self._name)
                return True
            _, plugin, is_ours, _, held, _ = found[0]
            if plugin != "pgoutput" or not is_ours:
                whose = "of another database" if not is_ours else f"one of {plugin}"
                raise TapError(
                    f"PostgreSQL {self._settings.where}: the replication slot {self._name} is {whose}; set replication_slot to another name"
                )
            if held is not None and held > WARN_BYTES:
                announce(
                    "slot_holds_wal",
                    f"the replication slot {self._name} holds back {held >> 20:,} MB of WAL; a run lets go of what the runs before it have published",
                    level=logging.WARNING,
                    slot=self._name,
                    bytes=held,
                )
            return is_new

    @property
    def confirmed(self) -> str:
        """Where the slot stands.

        Raises:
            TapError: it is not there any more.
        """
        with closing(connect_to_write(self._settings)) as client:
            found = client.rows(_SLOT.format(slot=literal(self._name)))
            if not found or found[0][3] == "lost":
                raise self._gap("is gone" if not found else "has lost WAL that was not read yet")
            return str(found[0][0])

    def require(self, bookmark: str) -> None:
        """Check that everything since a bookmark is still there.

        Raises:
            TapError: it is not.
        """
        confirmed = self.confirmed
        if number(bookmark) < number(confirmed):
            raise self._gap(f"has moved on to {confirmed}, beyond the bookmark {bookmark}")

    def confirm(self, bookmark: str) -> None:
        """Let the server forget what the lake has."""
        if number(bookmark) <= number(self.confirmed):
            return
        with closing(connect_to_write(self._settings)) as client:
            client.rows(
                f"SELECT pg_catalog.pg_replication_slot_advance({literal(self._name)}, {literal(bookmark)}::pg_lsn)::text"
            )

    @property
    def upper(self) -> str:
        """Where all streams of this run end."""
        if self._upper is None:
            with closing(connect_to_write(self._settings)) as client:
                self._upper = str(client.rows("SELECT pg_catalog.pg_current_wal_flush_lsn()::text")[0][0])
        return self._upper

    def changes(self) -> Iterator[Change]:
        """All changes that the slot has, up to `upper`.

        Raises:
            TransientError: the server goes away, or another process reads the slot.
            TapError: it cannot be read.
        """
        query = _PEEK.format(
            slot=literal(self._name), upper=literal(self.upper), publications=literal(identifier(self._publication))
        )
        with closing(connect(self._settings)) as client:
            yield from changes(m for batch in client.batches(query) for m in batch.column(0).to_pylist())

    def _publish(self, client: Client, relations: Sequence[str], followed: Mapping[str, str | None]) -> bool:
        """See to it that all changes of all tables are published; whether there are new ones."""
        is_new = self._add(client, relations, followed)
        wanted, publication = ", ".join(map(literal, relations)), literal(self._publication)
        version = int(client.rows("SELECT pg_catalog.current_setting('server_version_num')")[0][0])
        schema = _OF_SCHEMA if version >= _SCHEMAS_SINCE else "''"
        found = client.rows(_MEMBERSHIPS.format(relations=wanted, publication=publication, schema=schema))
        self.memberships = {relation: membership for relation, membership, _, _ in found}
        self.keys_alone = {relation: lacking.split("\n") for relation, _, _, lacking in found if lacking}
        if filtered := [relation for relation, _, is_filtered, _ in found if is_filtered]:
            name = identifier(self._publication)
            raise TapError(
                f"PostgreSQL {self._settings.where}: the publication {self._publication} leaves rows of {', '.join(filtered)} out (WHERE); "
                f"run there: ALTER PUBLICATION {name} DROP TABLE {', '.join(filtered)}; and then: {RELOAD}"
            )
        for relation, known in followed.items():
            if known is not None and self.memberships.get(relation) != known:
                raise self._unpublished(f"did not have {relation} for a while")
        return is_new

    def _add(self, client: Client, relations: Sequence[str], followed: Mapping[str, str | None]) -> bool:
        name, text = identifier(self._publication), literal(self._publication)
        wanted = ", ".join(map(literal, relations))
        found = client.rows(_PUBLICATION.format(publication=text, relations=wanted))
        if not found:
            if followed:
                raise self._unpublished("is gone")
            options = "publish_via_partition_root = true"
            self._run(client, f"CREATE PUBLICATION {name} FOR TABLE {', '.join(relations)} WITH ({options})")
            self._drop_older_slot(client)
            return True
        if not all(found[0]):
            options = "publish = 'insert, update, delete, truncate', publish_via_partition_root = true"
            what = (
                "some kinds of changes" if not found[0][0] else "what happens in partitions by the name of their table"
            )
            raise TapError(
                f"PostgreSQL {self._settings.where}: the publication {self._publication} leaves out {what}; run there: ALTER PUBLICATION "
                f"{name} SET ({options})" + (f"; and then, for what was left out: {RELOAD}" if followed else "")
            )
        missing = [row[0] for row in client.rows(_UNPUBLISHED.format(relations=wanted, publication=text))]
        if lost := sorted(followed.keys() & set(missing)):
            raise self._unpublished(f"does not have {', '.join(lost)} any more")
        if missing:
            self._run(client, f"ALTER PUBLICATION {name} ADD TABLE {', '.join(missing)}")
            self._wait_for_older_transactions(client)
        return bool(missing)

    def _drop_older_slot(self, client: Client) -> None:
        """It stands where there was no publication yet, and from there the server reads nothing. No bookmark needs it."""
        ours = f"slot_name = {literal(self._name)} AND plugin = 'pgoutput' AND database = current_database() AND NOT active"
        client.rows(
            f"SELECT pg_catalog.pg_drop_replication_slot(slot_name)::text FROM pg_catalog.pg_replication_slots WHERE {ours}"  # noqa: S608
        )

    def _wait_for_older_transactions(self, client: Client) -> None:
        """What they have written before the table was published is not in the log for us; the load must show it."""
        end = client.rows("SELECT pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::text::int8")[0][0]
        deadline = time.monotonic() + OLDER_TRANSACTIONS_S
        while (
            client.rows("SELECT pg_catalog.pg_snapshot_xmin(pg_catalog.pg_current_snapshot())::text::int8")[0][0] < end
        ):
            if time.monotonic() > deadline:
                raise TransientError(
                    f"PostgreSQL {self._settings.where}: a transaction is running that began before a table was added to the publication "
                    f"{self._publication}; run again when it has ended"
                )
            time.sleep(0.1)

    def _run(self, client: Client, statement: str) -> None:
        try:
            client.rows(statement) if statement.startswith("SELECT") else client.run(statement)
        except TapError as e:
            user = self._settings.user
            raise type(e)(
                f"{e}; it was: {statement}; run it as a role that may, or: ALTER ROLE {user} REPLICATION, and make {user} an owner of the "
                "tables"
            ) from e

    def _gap(self, why: str) -> TapError:
        return self._missing(f"the replication slot {self._name} {why}")

    def _unpublished(self, why: str) -> TapError:
        return self._missing(f"the publication {self._publication} {why}")

    def _missing(self, why: str) -> TapError:
        return TapError(
            f"PostgreSQL {self._settings.where}: gap: {why}, so changes are missing; a new snapshot is needed: {RELOAD}"
        )


def number(lsn: str) -> int:
    """A position of the log, to be compared."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def is_visible(xid: int, snapshot: str) -> bool:
    """Whether a snapshot (`xmin:xmax:xip,...`) shows what a transaction has done. The log has the lower 32 bits of its number."""
    low, high, running = snapshot.split(":")
    if _before(xid, int(low)):
        return True
    if not _before(xid, int(high)):
        return False
    return xid not in {int(x) & 0xFFFFFFFF for x in running.split(",") if x}


def _before(xid: int, other: int) -> bool:
    return ((xid - other) & 0xFFFFFFFF) >= 1 << 31
