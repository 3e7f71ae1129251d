"""Settings of target-iceberg: as a JSON Schema for `--about` and Meltano, and as a value for the engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from target_iceberg.load_plan import LakeCatalog, ViolationMode

if TYPE_CHECKING:
    from collections.abc import Mapping

LoadMethod = Literal["append-only", "upsert", "overwrite"]
DEFAULT_LAKE = "lake/default"

CONFIG: dict[str, Any] = {
    "type": "object",
    "properties": {
        "load_plan": {
            "type": ["string", "null"],
            "title": "Load plan",
            "description": "Path of a load plan written by `dativo compile`; with it the contract is enforced and all other "
            "settings are ignored.",
        },
        "catalog": {
            "type": ["object", "null"],
            "title": "Lake catalog",
            "additionalProperties": True,
            "description": "PyIceberg catalog properties, for example type, uri, warehouse, s3.endpoint. Credentials are better "
            "given as environment variables PYICEBERG_CATALOG__<NAME>__<KEY>. Without it: an embedded lake in lake/default.",
        },
        "catalog_name": {
            "type": ["string", "null"],
            "title": "Lake catalog name",
            "description": "Name under which PyIceberg looks for the catalog's properties in the environment.",
        },
        "default_target_schema": {
            "type": ["string", "null"],
            "title": "Namespace",
            "default": "default",
            "description": "Iceberg namespace of the tables.",
        },
        "load_method": {
            "type": ["string", "null"],
            "title": "Load method",
            "enum": ["append-only", "upsert", "overwrite", None],
            "description": "append-only, upsert by the stream's key properties, or overwrite. Default: upsert when the stream "
            "has key properties, else append-only.",
        },
        "violations": {
            "type": ["string", "null"],
            "title": "Violations",
            "default": "strict",
            "enum": ["strict", "warn", None],
            "description": "strict: one record that breaks its schema withholds the run; warn: good records are published, bad "
            "ones go to <table>__rejects.",
        },
        "parquet_target_size_mb": {
            "type": ["integer", "null"],
            "title": "File size",
            "default": 128,
            "minimum": 1,
            "description": "Wanted size of data files on disk, in MB.",
        },
    },
}
"""JSON Schema of the settings."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a user without a load plan may choose."""

    load_plan: str | None
    catalog: LakeCatalog
    namespace: tuple[str, ...]
    load_method: LoadMethod | None
    violations: ViolationMode
    target_file_size_bytes: int
    publish_every_s: float | None = None


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
