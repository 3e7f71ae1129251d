"""Columns of a load plan as an Iceberg schema, and Iceberg schemas as Arrow schemas for writing."""

from __future__ import annotations

import itertools
import re
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    MonthTransform,
    TruncateTransform,
    YearTransform,
)
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from target_iceberg.errors import TargetError
from target_iceberg.load_plan import Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pyiceberg.transforms import Transform


PRIMITIVES: dict[str, IcebergType] = {
    "long": LongType(),
    "int": IntegerType(),
    "double": DoubleType(),
    "float": FloatType(),
    "boolean": BooleanType(),
    "string": StringType(),
    "date": DateType(),
    "time": TimeType(),
    "timestamp": TimestampType(),
    "timestamptz": TimestamptzType(),
    "uuid": UUIDType(),
    "binary": BinaryType(),
}
_DECIMAL = re.compile(r"decimal\((\d+),\s*(\d+)\)")
_CALL = re.compile(r"(\w+)\((?:(\d+),\s*)?([^)]+)\)")
_TRANSFORMS: dict[str, Any] = {
    "day": DayTransform,
    "month": MonthTransform,
    "year": YearTransform,
    "hour": HourTransform,
}


def iceberg_type(column: Column, ids: Iterator[int]) -> IcebergType:
    """Iceberg type of a column; nested members take their field ids from `ids`."""
    if column.type in PRIMITIVES:
        return PRIMITIVES[column.type]
    if m := _DECIMAL.fullmatch(column.type):
        return DecimalType(int(m[1]), int(m[2]))
    if column.type == "struct":
        return StructType(*nested_fields(column.fields, ids))
    if column.type == "list":
        element = column.fields[0]
        return ListType(element_id=next(ids), element=iceberg_type(element, ids), element_required=element.required)
    if column.type == "map":
        key, value = column.fields
        return MapType(
            key_id=next(ids),
            key_type=iceberg_type(key, ids),
            value_id=next(ids),
            value_type=iceberg_type(value, ids),
            value_required=value.required,
        )
    raise TargetError(
        f"column {column.name}: no such type {column.type!r}; known are {', '.join(PRIMITIVES)}, decimal(p,s), struct, "
        "list, map",
        "configuration",
    )


def column_of(field: NestedField) -> Column:
    """The column that `iceberg_type` makes such a field of, except that JSON text is a string like any other."""
    kind = field.field_type
    fields: tuple[Column, ...] = ()
    if isinstance(kind, StructType):
        word, fields = "struct", tuple(column_of(f) for f in kind.fields)
    elif isinstance(kind, ListType):
        word, fields = "list", (column_of(kind.element_field),)
    elif isinstance(kind, MapType):
        word, fields = "map", (column_of(kind.key_field), column_of(kind.value_field))
    else:
        word = str(kind).replace(" ", "")  # "decimal(10, 2)"
    encoding: Literal["base64"] | None = "base64" if word == "binary" else None
    return Column(name=field.name, type=word, encoding=encoding, fields=fields, required=field.required, doc=field.doc)


def nested_fields(columns: Iterable[Column], ids: Iterator[int]) -> list[NestedField]:
    """Fields of a schema or struct."""
    numbered = [(next(ids), c) for c in columns]
    return [NestedField(i, c.name, iceberg_type(c, ids), required=c.required, doc=c.doc) for i, c in numbered]


def iceberg_schema(columns: Iterable[Column], key: tuple[str, ...] = ()) -> Schema:
    """Schema of a new table; key columns are its identifier fields where the specification allows it."""
    fields = nested_fields(columns, itertools.count(1))
    by_name = {f.name: f for f in fields}
    allowed = [
        by_name[k]
        for k in key
        if k in by_name and by_name[k].required and not isinstance(by_name[k].field_type, (DoubleType, FloatType))
    ]
    return Schema(*fields, identifier_field_ids=[f.field_id for f in allowed] if len(allowed) == len(key) else [])


def file_arrow_schema(schema: Schema) -> pa.Schema:
    """Arrow schema of data files, field ids included; plain instead of large strings, which saves a copy."""
    return pa.schema([_small(f) for f in schema_to_pyarrow(schema, include_field_ids=True)])


def _small(field: pa.Field) -> pa.Field:
    return field.with_type(_small_type(field.type))


def _member(field: pa.Field) -> pa.Field:
    # Below a struct that is NULL there is nothing, whatever must be there below one that is not.
    return _small(field).with_nullable(True)


def _small_type(t: pa.DataType) -> pa.DataType:
    if pa.types.is_large_string(t):
        return pa.string()
    if pa.types.is_large_binary(t):
        return pa.binary()
    if pa.types.is_struct(t):
        return pa.struct([_member(t.field(i)) for i in range(t.num_fields)])
    if pa.types.is_large_list(t) or pa.types.is_list(t):
        return pa.list_(_member(t.value_field))
    if pa.types.is_map(t):
        return pa.map_(_small(t.key_field), _member(t.item_field))
    return t


def column_paths(schema: Schema) -> dict[str, int]:
    """Column path -> field id, for every leaf and node."""
    return {name: schema.find_field(name).field_id for name in schema.column_names}


def _transform(expression: str) -> tuple[str, str, Transform[Any, Any]]:
    m = _CALL.fullmatch(expression.strip())
    if m is None:
        return expression.strip(), expression.strip(), IdentityTransform()
    name, number, column = m[1], m[2], m[3].strip()
    if name in _TRANSFORMS and number is None:
        return column, f"{column}_{name}", _TRANSFORMS[name]()
    if name == "bucket" and number:
        return column, f"{column}_bucket", BucketTransform(int(number))
    if name == "truncate" and number:
        return column, f"{column}_trunc", TruncateTransform(int(number))
    raise TargetError(
        f"partitioning {expression!r}: write a column, or day(c), month(c), year(c), hour(c), bucket(n, c), "
        "truncate(n, c)",
        "configuration",
    )


def partition_spec(schema: Schema, partition_by: tuple[str, ...]) -> PartitionSpec:
    """Partition spec of a new table."""
    fields = []
    for i, expression in enumerate(partition_by):
        column, name, transform = _transform(expression)
        try:
            source = schema.find_field(column)
        except ValueError as e:
            raise TargetError(
                f"partitioning {expression!r}: the table has no column {column!r}", "configuration"
            ) from e
        fields.append(PartitionField(source_id=source.field_id, field_id=1000 + i, transform=transform, name=name))
    return PartitionSpec(*fields)


def normalised(expression: str) -> str:
    """A partition expression in one spelling."""
    column, _, transform = _transform(expression)
    return _expression(column, transform)


def expressions_of(spec: PartitionSpec, schema: Schema) -> list[str]:
    """A partition spec as a load plan writes it."""
    return [_expression(schema.find_column_name(f.source_id) or "?", f.transform) for f in spec.fields]


def _expression(column: str, transform: Transform[Any, Any]) -> str:
    word, _, number = str(transform).rstrip("]").partition("[")
    return column if word == "identity" else f"{word}({number}, {column})" if number else f"{word}({column})"
