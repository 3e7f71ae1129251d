"""Failures of a target that runs alone, for which the Singer SDK has words of its own; they are of both families."""

from __future__ import annotations

from singer_sdk.exceptions import MissingKeyPropertiesError, RecordsWithoutSchemaException

from target_iceberg.errors import TargetError


class NoSchemaError(TargetError, RecordsWithoutSchemaException):
    """Data came before its SCHEMA."""


class BrokenKeyError(TargetError, MissingKeyPropertiesError):
    """A record lacks a key property."""
