"""Differences between a contract and a table, and which of them a run may apply.

strict: none. merge and relaxed: new optional columns, int -> long, float -> double, wider decimals, required -> optional.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from pyiceberg.exceptions import ResolveError, ValidationError
from pyiceberg.table.sorting import NullOrder, SortDirection
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import DecimalType, DoubleType, FloatType, IcebergType, IntegerType, LongType

from target_iceberg.errors import TargetError
from target_iceberg.table.iceberg_schema import column_of, expressions_of, iceberg_schema, normalised, partition_spec
from target_iceberg.table.sorting import sort_columns

if TYPE_CHECKING:
    from pyiceberg.schema import Schema
    from pyiceberg.table import Transaction
    from pyiceberg.table.metadata import TableMetadata

    from target_iceberg.load_plan import Column, StreamPlan

OURS = "_sdc_"
"""Begins the names of columns that Singer targets add."""


@dataclass
class Differences:
    """What separates a table from its contract, as lines of a diff (- the table, + the contract)."""

    safe: list[str] = field(default_factory=list)
    unsafe: list[str] = field(default_factory=list)
    docs: dict[str, str] = field(default_factory=dict)
    """Column -> what the contract says of it now; no reader depends on it, so it changes in every mode."""
    ours: list[str] = field(default_factory=list)
    """Columns that the target adds by itself; no contract names them, so none is broken by them."""

    @property
    def lines(self) -> list[str]:
        """All of them."""
        return [*self.safe, *self.unsafe]


def compare(columns: tuple[Column, ...], schema: Schema) -> Differences:
    """Compare the columns of a contract with a table's schema."""
    found = Differences()
    wanted = iceberg_schema(columns)
    for new in wanted.fields:
        try:
            old = schema.find_field(new.name)
        except ValueError:
            into = found.ours if new.name.startswith(OURS) else found.safe
            into.append(f"+ {new.name} {new.field_type}" + (" required" if new.required else ""))
            continue
        if str(old.field_type) != str(new.field_type):
            kind = found.safe if _widens(old.field_type, new.field_type) else found.unsafe
            kind += [f"- {old.name} {old.field_type}", f"+ {new.name} {new.field_type}"]
        if new.doc and old.doc != new.doc:
            found.docs[new.name] = new.doc
        if old.required != new.required:
            # A record must still carry the value when the contract says required: the target checks every record.
            found.safe += [f"- {old.name} {_word(old.required)}", f"+ {new.name} {_word(new.required)}"]
    names = {f.name for f in wanted.fields}
    for old in schema.fields:
        if old.name not in names and not old.name.startswith(OURS):
            found.safe.append(f"- {old.name} {old.field_type}" + (" required" if old.required else ""))
    return found


def _word(required: bool) -> str:
    return "required" if required else "optional"


def _widens(old: IcebergType, new: IcebergType) -> bool:
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return old.scale == new.scale and old.precision < new.precision
    promotions = ((IntegerType, LongType), (FloatType, DoubleType))
    # Members of structs are resolved by name when the change is applied; what cannot be is refused there.
    return (not old.is_primitive and not new.is_primitive) or any(
        isinstance(old, a) and isinstance(new, b) for a, b in promotions
    )


def compare_layout(plan: StreamPlan, metadata: TableMetadata) -> list[str]:
    """Lines of a diff of partitioning and sort order; a plan that says nothing of them agrees with any."""
    lines = []
    if plan.partition_by:
        now = expressions_of(metadata.spec(), metadata.schema())
        wanted = [normalised(e) for e in plan.partition_by]
        if set(now) != set(wanted):
            lines += [f"- partitioned by {', '.join(now) or 'nothing'}", f"+ partitioned by {', '.join(wanted)}"]
    if plan.sort_by:
        order = {o.order_id: o for o in metadata.sort_orders}[metadata.default_sort_order_id]
        now = [
            f"{metadata.schema().find_column_name(f.source_id)}{' desc' if f.direction == SortDirection.DESC else ''}"
            for f in order.fields
        ]
        wanted = [f"{c}{' desc' if d else ''}" for c, d in sort_columns(plan.sort_by)]
        if now != wanted:
            lines += [f"- sorted by {', '.join(now) or 'nothing'}", f"+ sorted by {', '.join(wanted)}"]
    return lines


def refuse_or_list(plan: StreamPlan, metadata: TableMetadata) -> list[str]:
    """Changes a run would apply to a table, as diff lines.

    Raises:
        TargetError: the evolution mode does not allow the differences; the message holds the diff.
    """
    found = compare(_wanted(plan, metadata.schema()), metadata.schema())
    found.safe += compare_layout(plan, metadata)
    forbidden = found.lines if plan.evolution == "strict" else found.unsafe
    if forbidden:
        where = ".".join((*plan.namespace, plan.table))
        says = _authority(plan)
        now = (
            "set target.mode to merge in the contract, or change the contract"
            if not found.unsafe
            else f"change the {says}, or load into a new table"
        )
        lines = "\n".join(f"  {line}" for line in forbidden)
        raise TargetError(f"table {where} differs from its {says} (- table, + {says}):\n{lines}\n{now}", "evolution")
    # A narrower contract changes nothing in the table: absent columns are written as NULL.
    return found.ours + [line for line in found.lines if line.startswith("+") or line.endswith(" required")]


def _authority(plan: StreamPlan) -> str:
    """What the table has to agree with: without a load plan there is no contract, and every SCHEMA is followed."""
    return "SCHEMA" if plan.contract is None and plan.evolution == "relaxed" else "contract"


def further_columns(plan: StreamPlan, schema: Schema) -> list[Column]:
    """Columns that SCHEMAs have brought into the table of a relaxed contract; a record may have values for them."""
    if plan.evolution != "relaxed":
        return []
    known = {c.name.lower() for c in plan.columns}
    return [column_of(f) for f in schema.fields if f.name.lower() not in known and not f.name.startswith(OURS)]


def apply(transaction: Transaction, plan: StreamPlan) -> None:
    """Put the safe changes into a transaction, so that they land in one commit with the data."""
    schema = transaction.table_metadata.schema()
    wanted = _wanted(plan, schema)
    docs = compare(wanted, schema).docs
    if docs:
        with transaction.update_schema() as update:
            for name, doc in docs.items():
                update.update_column((name,), doc=doc)
    if not refuse_or_list(plan, transaction.table_metadata):
        return
    existing = {f.name for f in schema.fields}
    # A column that comes to a table with rows is optional there; the contract's required is checked on each record.
    columns = tuple(c if c.name in existing and schema.find_field(c.name).required else _optional(c) for c in wanted)
    identifiers = [str(schema.find_column_name(i)) for i in schema.identifier_field_ids]
    lasting = [name for name in identifiers if name in plan.key]
    kept = {c.name for c in plan.columns}
    try:
        with transaction.update_schema() as update:
            if len(lasting) < len(identifiers):
                update.set_identifier_fields(*lasting)
            update.union_by_name(iceberg_schema(columns))
            for f in schema.fields:
                if f.required and f.name not in kept:
                    update.make_column_optional(f.name)
    except (ValidationError, ResolveError, ValueError) as e:
        where, says = ".".join((*plan.namespace, plan.table)), _authority(plan)
        raise TargetError(
            f"table {where} cannot follow its {says}: {e}; change the {says}, or load into a new table", "evolution"
        ) from e
    _apply_layout(transaction, plan)


def _wanted(plan: StreamPlan, schema: Schema) -> tuple[Column, ...]:
    """The plan's columns; a key that identifies the table's rows stays required, as its values are in any case."""
    identifiers = {schema.find_column_name(i) for i in schema.identifier_field_ids}
    kept = identifiers & set(plan.key)
    return tuple(msgspec.structs.replace(c, required=True) if c.name in kept else c for c in plan.columns)


def _apply_layout(transaction: Transaction, plan: StreamPlan) -> None:
    """Partitioning and sort order of the files to come; those that are there stay as they are."""
    metadata = transaction.table_metadata
    schema = metadata.schema()
    wanted = partition_spec(schema, plan.partition_by)
    now = {(f.source_id, str(f.transform)): f.name for f in metadata.spec().fields}
    then = {(f.source_id, str(f.transform)): f for f in wanted.fields}
    if plan.partition_by and set(now) != set(then):
        with transaction.update_spec() as spec:
            for field_key, name in now.items():
                if field_key not in then:
                    spec.remove_field(name)
            taken = {f.name for s in metadata.partition_specs for f in s.fields}
            for f in [f for field_key, f in then.items() if field_key not in now]:
                column = schema.find_column_name(f.source_id)
                assert column is not None
                spec.add_field(column, f.transform, _free_name(f.name, taken))
    if plan.sort_by and any("sorted by" in line for line in compare_layout(plan, transaction.table_metadata)):
        with transaction.update_sort_order() as order:
            for column, descending in sort_columns(plan.sort_by):
                add = order.desc if descending else order.asc
                add(column, IdentityTransform(), NullOrder.NULLS_LAST)


def _free_name(name: str, taken: set[str]) -> str:
    """Names of earlier partition fields are not used again: some readers know fields by name."""
    while name in taken:
        name += "_2"
    return name


def _optional(column: Column) -> Column:
    return msgspec.structs.replace(column, required=False)
