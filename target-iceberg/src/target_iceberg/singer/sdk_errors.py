"""Failures of a target that runs alone, for which the Singer SDK has words of its own; they are of both families."""

from __future__ import annotations

from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException

from target_iceberg.errors import TargetError


class NoSchemaError(TargetError, RecordsWithoutSchemaException):
    """Data came before its SCHEMA."""


class BrokenKeyError(TargetError, MissingKeyPropertiesError):
    """A record lacks a key property."""


def no_schema(stream: str, *, planned: bool) -> TargetError:
    """Data came before the SCHEMA of its stream; without a load plan it is the SDK's error."""
    message = f"stream {stream}: data came before its SCHEMA"
    return TargetError(message, "source") if planned else NoSchemaError(message, "source")
