"""Settings of target-iceberg: as a JSON Schema for `--about` and Meltano, and as a value for the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from singer_sdk import typing as th

from target_iceberg.load_plan import LakeCatalog, ViolationMode

if TYPE_CHECKING:
    from collections.abc import Mapping

LoadMethod = Literal["append-only", "upsert", "overwrite"]
DEFAULT_LAKE = "lake/default"

CONFIG = th.PropertiesList(
    th.Property(
        "load_plan",
        th.StringType,
        title="Load plan",
        description="Path of a load plan written by `dativo compile`; with it the contract is enforced and all other settings but "
        "those of the plan are ignored.",
    ),
    th.Property(
        "catalog",
        th.ObjectType(additional_properties=True),
        title="Lake catalog",
        description="PyIceberg catalog properties, for example type, uri, warehouse, s3.endpoint. Credentials are better given as "
        "environment variables PYICEBERG_CATALOG__<NAME>__<KEY>. Without it: an embedded lake in lake/default.",
    ),
    th.Property(
        "catalog_name",
        th.StringType,
        title="Lake catalog name",
        description="Name under which PyIceberg looks for the catalog's properties in the environment.",
    ),
    th.Property(
        "default_target_schema",
        th.StringType,
        default="default",
        title="Namespace",
        description="Iceberg namespace of the tables.",
    ),
    th.Property(
        "load_method",
        th.StringType,
        allowed_values=["append-only", "upsert", "overwrite"],
        title="Load method",
        description="append-only, upsert by the stream's key properties, or overwrite. Default: upsert when the stream has key "
        "properties, else append-only.",
    ),
    th.Property(
        "violations",
        th.StringType,
        default="strict",
        allowed_values=["strict", "warn"],
        title="Violations",
        description="strict: one record that breaks its schema withholds the run; warn: good records are published, bad ones go to "
        "<table>__rejects.",
    ),
    th.Property(
        "parquet_target_size_mb",
        th.IntegerType,
        default=128,
        title="File size",
        description="Wanted size of data files on disk, in MB.",
    ),
).to_dict()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user without a load plan may choose."""

    load_plan: str | None
    catalog: LakeCatalog
    namespace: tuple[str, ...]
    load_method: LoadMethod | None
    violations: ViolationMode
    target_file_size_bytes: int


def from_config(config: Mapping[str, Any]) -> Settings:
    """Read a validated Singer configuration."""
    properties, name = config.get("catalog"), config.get("catalog_name")
    if properties or name:
        catalog = LakeCatalog(
            kind="pyiceberg", name=name or "dativo", properties={k: str(v) for k, v in (properties or {}).items()}
        )
    else:
        catalog = LakeCatalog(kind="embedded", path=DEFAULT_LAKE)
    return Settings(
        load_plan=config.get("load_plan") or None,
        catalog=catalog,
        namespace=tuple(str(config.get("default_target_schema") or "default").split(".")),
        load_method=config.get("load_method"),
        violations=config.get("violations") or "strict",
        target_file_size_bytes=int(config.get("parquet_target_size_mb") or 128) << 20,
    )
