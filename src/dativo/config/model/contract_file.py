"""The two spellings of a contract that are Dativo's own: nested below `asset:`, and flat (ODCS-like)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field

from dativo.config.model.base import Authored, Extensible, Settings

Scalar = str | int | float | bool
Bound = str | int | float


def _either(*names: str, default: Any = None) -> Any:
    """A field that two spellings name differently."""
    return Field(default=default, validation_alias=AliasChoices(*names), serialization_alias=names[0])


class AuthoredColumn(Authored):
    """A column, a member of an object, or the element of an array."""

    name: str
    type: str = Field(validation_alias=AliasChoices("type", "logicalType"), serialization_alias="type")
    """string, integer, bigint, double, float, boolean, date, timestamp, timestamp_ntz, time, decimal(p,s), uuid, binary,
    array, object, map."""
    physicalType: str | None = None  # noqa: N815  ODCS writes its keys in camel case
    required: bool = False
    primaryKey: bool = _either("primaryKey", "primary_key", default=False)  # noqa: N815
    primaryKeyPosition: int | None = None  # noqa: N815
    unique: bool = False
    description: str | None = None
    businessName: str | None = None  # noqa: N815
    classification: str | None = None
    tags: list[str] = Field(default_factory=list)
    examples: list[Any] = Field(default_factory=list)
    enum: list[Scalar | None] | None = Field(default=None, min_length=1)
    pattern: str | None = None
    minimum: Bound | None = _either("minimum", "min")
    maximum: Bound | None = _either("maximum", "max")
    exclusiveMinimum: Bound | None = None  # noqa: N815
    exclusiveMaximum: Bound | None = None  # noqa: N815
    minLength: int | None = _either("minLength", "min_length")  # noqa: N815
    maxLength: int | None = _either("maxLength", "max_length")  # noqa: N815
    format: str | None = None
    quality: list[Settings] = Field(default_factory=list)
    """ODCS quality checks."""
    out_of_range: Literal["reject", "null", "text"] | None = None
    """What becomes of a value that the type has no room for, e.g. an infinite timestamp: reject (the default), "null", or text,
    which makes the column a text."""
    properties: list[AuthoredColumn] | None = _either("properties", "fields")
    items: AuthoredItem | str | None = None


class AuthoredItem(AuthoredColumn):
    """Element of an array; its name says nothing."""

    name: str = "element"


AuthoredColumn.model_rebuild()  # it names AuthoredItem, which derives from it


class RowCount(Authored):
    """Rows that one run must bring."""

    min: int | None = Field(default=None, ge=0)
    max: int | None = Field(default=None, ge=0)


class Freshness(Authored):
    """How old the newest value of a column may be when a run publishes."""

    column: str
    max_age_hours: float = Field(gt=0)


class Monitoring(Extensible):
    """`data_quality.monitoring`."""

    enabled: bool = False
    oncall_rotation: str | None = None


class DataQuality(Extensible):
    """`data_quality`: rules over what a run has staged, and who is told."""

    monitoring: Monitoring | None = None
    row_count: RowCount | None = None
    freshness: Freshness | None = None
    unique: list[list[str]] = Field(default_factory=list)
    """Lists of columns whose values together are unique."""


class Team(Extensible):
    """`team`."""

    owner: str | None = None


class Compliance(Extensible):
    """`compliance`."""

    retention_days: int | None = Field(default=None, ge=1)


class Governance(Extensible):
    """`governance`."""

    owner: str | None = None
    domain: str | None = None
    retention_days: int | None = Field(default=None, ge=1)


class TargetSection(Authored):
    """`target` of a contract."""

    file_format: str | None = None
    partitioning: list[str] = Field(default_factory=list)
    sort_by: list[str] = Field(default_factory=list)
    mode: Literal["strict", "merge", "relaxed"] | None = None


class NestedAsset(Authored):
    """What stands below `asset:`."""

    name: str
    source_type: str | None = None
    object: str | None = None
    version: str
    description: str | None = None
    status: str | None = None
    domain: str | None = None
    tenant: str | None = None
    schema_: list[AuthoredColumn] = Field(alias="schema", min_length=1)
    primary_key: list[str] | None = _either("primary_key", "primaryKey")
    quality: list[Settings] = Field(default_factory=list)
    data_quality: DataQuality | None = None
    governance: Governance | None = None
    compliance: Compliance | None = None
    finops: dict[str, Any] = Field(default_factory=dict)
    target: TargetSection | None = None


class NestedContract(Authored):
    """The nested form."""

    asset: NestedAsset


class FlatContract(Authored):
    """The flat form: ODCS's head, a list of columns, and Dativo's own sections."""

    schema_uri: str | None = Field(default=None, alias="$schema")
    apiVersion: str = "v3.0.2"  # noqa: N815
    kind: Literal["DataContract"] = "DataContract"
    id: str | None = None
    name: str
    version: str
    status: str | None = None
    domain: str | None = None
    dataProduct: str | None = None  # noqa: N815
    tenant: str | None = None
    source_type: str | None = None
    object: str | None = None
    description: str | dict[str, Any] | None = None
    tags: list[str] = Field(default_factory=list)
    schema_: list[AuthoredColumn] = Field(alias="schema", min_length=1)
    primary_key: list[str] | None = _either("primary_key", "primaryKey")
    team: Team | None = None
    quality: list[Settings] = Field(default_factory=list)
    data_quality: DataQuality | None = None
    compliance: Compliance | None = None
    governance: Governance | None = None
    finops: dict[str, Any] = Field(default_factory=dict)
    target: TargetSection | None = None
    slaProperties: list[Settings] = Field(default_factory=list)  # noqa: N815
    customProperties: list[Settings] = Field(default_factory=list)  # noqa: N815
