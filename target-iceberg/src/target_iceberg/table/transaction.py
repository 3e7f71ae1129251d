"""PyIceberg's transactions, which work out their metadata once for each change and not each time that they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.io import load_file_io
from pyiceberg.table import CreateTableTransaction, StagedTable, Transaction
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import new_table_metadata

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.partitioning import PartitionSpec
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table
    from pyiceberg.table.metadata import TableMetadata
    from pyiceberg.table.sorting import SortOrder


class _RemembersMetadata(Transaction):
    """PyIceberg 0.12 applies all changes so far to a deep copy whenever somebody looks: 20 times in a publish, which was
    half of its time where a run makes many small tables. The metadata are never changed in place."""

    _known: tuple[Any, Any, TableMetadata] | None = None

    @property
    def table_metadata(self) -> TableMetadata:
        known = self._known
        if known is None or known[0] is not self._table.metadata or known[1] is not self._updates:
            known = self._known = (self._table.metadata, self._updates, super().table_metadata)
        return known[2]


class _Creation(_RemembersMetadata, CreateTableTransaction):
    pass


def begin_change(table: Table) -> Transaction:
    """A transaction on a table as it was loaded."""
    return _RemembersMetadata(table)


def begin_creation(
    catalog: Catalog,
    identifier: tuple[str, ...],
    schema: Schema,
    location: str | None,
    spec: PartitionSpec,
    order: SortOrder,
    properties: dict[str, str],
) -> Transaction:
    """A transaction that makes a table; nothing is visible before its commit."""
    if len(identifier) > 2 and type(catalog).__name__ in ("SqlCatalog", "FilesCatalog"):  # whose imports take 0.2 s
        return _Creation(_nested_creation(catalog, identifier, schema, location, spec, order, properties))
    begun = catalog.create_table_transaction(
        identifier, schema, location=location, partition_spec=spec, sort_order=order, properties=properties
    )
    staged = staged_table(begun)
    assert isinstance(staged, StagedTable)
    return _Creation(staged)


def staged_table(transaction: Transaction) -> Table:
    """The table that a transaction works on, also one that does not exist yet; PyIceberg has no public access to it."""
    return transaction._table  # noqa: SLF001


def _nested_creation(
    catalog: Catalog,
    identifier: tuple[str, ...],
    schema: Schema,
    location: str | None,
    spec: PartitionSpec,
    order: SortOrder,
    properties: dict[str, str],
) -> StagedTable:
    """A table to be made below several namespaces, which such catalogs can hold but PyIceberg cannot begin."""
    where = location or "/".join((catalog.properties.get("warehouse", "").rstrip("/"), *identifier))
    metadata = new_table_metadata(
        location=where, schema=schema, partition_spec=spec, sort_order=order, properties=properties
    )
    file = load_location_provider(where, properties).new_table_metadata_file_location()
    io = load_file_io({**catalog.properties, **properties}, file)
    return StagedTable(identifier=identifier, metadata=metadata, metadata_location=file, io=io, catalog=catalog)
