"""Opening the table of a run: where its files are staged, with which schema, and what forbids loading it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pyiceberg.exceptions import TableAlreadyExistsError

from target_iceberg.errors import TargetError
from target_iceberg.table import bookmark as bookmarks
from target_iceberg.table import evolve
from target_iceberg.table.iceberg_schema import iceberg_schema, partition_spec
from target_iceberg.table.lake_catalog import ensure_namespace, lake_errors, load_table, settings_errors, warehouse_of
from target_iceberg.table.sorting import sort_order
from target_iceberg.table.transaction import begin_change, begin_creation, staged_table

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table, Transaction
    from pyiceberg.table.metadata import TableMetadata

    from target_iceberg.load_plan import LakeCatalog, LoadPlan, StreamPlan
    from target_iceberg.table.bookmark import Bookmark

CREATED_BY = "dativo.created-by"
BASE_PROPERTIES = {
    CREATED_BY: "dativo",
    "format-version": "2",
    # PyIceberg's own retry would rebase a stale commit past the compare-and-set on the bookmark.
    "commit.retry.num-retries": "0",
    "write.parquet.compression-codec": "zstd",
}


def address(plan: StreamPlan) -> str:
    """namespace.table."""
    return ".".join((*plan.namespace, plan.table))


@dataclass
class Lakehouse:
    """An open lake catalog and the identity of the job that works on it."""

    catalog: Catalog
    settings: LakeCatalog
    tenant: str
    job: str
    seen: dict[str, Table] = field(default_factory=dict)
    """Address -> table as it was when its bookmark was read, where a request to the catalog costs more than to find out at the
    publish that it has changed since."""

    def load(self, plan: StreamPlan) -> Table | None:
        """The table of a stream as it stands now."""
        return load_table(self.catalog, plan.namespace, plan.table)

    def begin(self, plan: StreamPlan, table: Table | None) -> Transaction:
        """A transaction on the table as it was loaded, or one that makes it; nothing is visible before its commit."""
        if table is not None:
            return begin_change(table)
        schema = iceberg_schema(plan.columns, plan.key)
        location = self.location(plan) if self.settings.kind in ("embedded", "files") else None
        layout = folder_layout(location, plan) if location and self.settings.kind == "files" else {}
        if self.settings.kind == "pyiceberg":  # Nessie wants it when the table is committed, on the branch of the run
            ensure_namespace(self.catalog, plan.namespace)
        spec, properties = partition_spec(schema, plan.partition_by), {**plan.properties, **BASE_PROPERTIES, **layout}
        identifier = (*plan.namespace, plan.table)
        order = sort_order(schema, plan.sort_by)
        with settings_errors(address(plan)):
            begun = begin_creation(self.catalog, identifier, schema, location, spec, order, properties)
            staged_table(begun).io.new_output(f"{staged_table(begun).location()}/data")  # is there such a file system?
        return begun

    def location(self, plan: StreamPlan) -> str:
        """Where a table of an embedded lake or of kind `files` lies, whether or not it exists."""
        if self.settings.kind == "files":
            catalog: Any = self.catalog
            return str(catalog.location(plan.table))
        return "/".join((warehouse_of(self.settings), *plan.namespace, plan.table))

    def bookmark(self, metadata: TableMetadata, stream: str) -> Bookmark | None:
        """The bookmark of one of the job's streams that is in force in a table."""
        if self.settings.kind == "nessie":  # whose branches take properties with them, and show one snapshot only
            return bookmarks.held(metadata, self.tenant, self.job, stream)
        return bookmarks.read(metadata, self.tenant, self.job, stream)


def folder_layout(location: str, plan: StreamPlan) -> dict[str, str]:
    """Properties of a table in a lake of kind `files` that say where its files go."""
    # Staged rows that become other objects are never part of the table.
    data = location if plan.file_format == "parquet" else f"{location}/_staged"
    return {"write.data.path": data, "write.metadata.path": f"{location}/_metadata"}


@dataclass
class Stage:
    """What a run stages for one stream."""

    plan: StreamPlan
    start: Bookmark | None
    """The bookmark at the start of the run."""
    loaded: Table | None
    """The table as it was before; None where the run makes it."""
    table: Table
    schema: Schema
    spec: PartitionSpec
    sort_order_id: int
    changes: list[str]
    steps: tuple[StreamPlan, ...] = ()
    """Every shape that the stream had in this run, oldest first; a publish applies them in this order, so that a table made
    by the run gets the field ids with which its files were written."""

    @property
    def table_existed(self) -> bool:
        """Whether it was there before the run."""
        return self.loaded is not None

    @property
    def specs(self) -> dict[int, PartitionSpec]:
        """Partition specs by id, that of staged files included."""
        return {**self.table.specs(), self.spec.spec_id: self.spec}

    @property
    def start_n(self) -> int:
        """n of the bookmark at the start, 0 when there was none."""
        return 0 if self.start is None else self.start.n


def open_stage(lake: Lakehouse, *steps: StreamPlan) -> Stage:
    """Look at the table of a stream and prepare staging.

    Args:
        lake: where the table lies.
        steps: the shapes that the stream had in this run, oldest first.

    Raises:
        TargetError: the table differs from the contract, or the write mode is refused for it.
    """
    plan = steps[-1]
    with lake_errors(address(plan)):
        transaction, loaded = _begin(lake, steps[0])
        metadata: Any = transaction.table_metadata
        start = lake.bookmark(metadata, plan.stream) if loaded is not None else None
        changes: list[str] = []
        if loaded is not None:
            refuse_write_mode(lake, plan, metadata, start)
            changes = evolve.refuse_or_list(plan, metadata)
        for step in steps:
            evolve.apply(transaction, step)
        metadata = transaction.table_metadata
        return Stage(
            plan=plan,
            start=start,
            loaded=loaded,
            table=staged_table(transaction),
            schema=metadata.schema(),
            spec=metadata.spec(),
            sort_order_id=metadata.default_sort_order_id,
            changes=changes,
            steps=steps,
        )


def _begin(lake: Lakehouse, plan: StreamPlan) -> tuple[Transaction, Table | None]:
    """A transaction, and its table as it was when it was looked at; another run may be making it."""
    table = lake.seen.pop(address(plan), None) or lake.load(plan)
    try:
        return lake.begin(plan, table), table
    except TableAlreadyExistsError:  # between the two calls
        table = lake.load(plan)
        return lake.begin(plan, table), table


def refuse_write_mode(lake: Lakehouse, plan: StreamPlan, metadata: TableMetadata, start: Bookmark | None) -> None:
    """Refuse what would double or destroy rows of somebody else.

    Raises:
        TargetError: replace of a foreign table, append to rows that no bookmark accounts for, a bookmark of another source.
    """
    where = address(plan)
    foreign = metadata.properties.get(CREATED_BY) != "dativo"
    mine = bookmarks.property_name(lake.tenant, lake.job, "")
    others = sorted(p for p in metadata.properties if p.startswith(bookmarks.PREFIX) and not p.startswith(mine))
    if plan.write_mode == "replace":
        if others:
            raise TargetError(
                f"{where}: replace would drop rows of {', '.join(p[len(bookmarks.PREFIX) :] for p in others)}; use upsert "
                "or append, or another table",
                "refused",
            )
        if foreign and not plan.adopt:
            raise TargetError(
                f"{where}: Dativo did not make this table, replace would drop its rows; set target.adopt: true in the "
                "job to allow it",
                "refused",
            )
    unaccounted = start is None and not plan.replace_files and not plan.adopt and (foreign or not others)
    if plan.write_mode == "append" and unaccounted and has_rows(metadata):
        raise TargetError(
            f"{where}: the table has rows that no bookmark of this job accounts for, append could double them; set "
            "target.adopt: true in the job to allow it, or use upsert with a key",
            "refused",
        )
    if (
        start is not None
        and start.state is not None
        and start.fingerprint != plan.fingerprint
        and plan.write_mode != "replace"
    ):
        raise TargetError(
            f"stream {plan.stream}: its bookmark in {where} belongs to another source (connection, object, cursor or filter "
            "changed); read all again with: dativo run --full-refresh, or forget the bookmark with: dativo state reset",
            "refused",
        )


def has_rows(metadata: TableMetadata) -> bool:
    """Whether the current snapshot has rows, though all of them may be deleted."""
    snapshot = metadata.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return False
    return int(snapshot.summary.additional_properties.get("total-records", "0")) > 0


def read_bookmarks(lake: Lakehouse, plan: LoadPlan) -> dict[str, Bookmark | None]:
    """The bookmark in force of each stream of a job; None where the table or the bookmark is missing."""
    found: dict[str, Bookmark | None] = {}
    for stream in plan.streams:
        with lake_errors(address(stream)):
            table = lake.load(stream)
            if table is not None and lake.settings.kind == "nessie":
                lake.seen[address(stream)] = table
            found[stream.stream] = None if table is None else lake.bookmark(table.metadata, stream.stream)
    return found
