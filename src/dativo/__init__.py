"""Config-driven, multi-tenant ingestion into Apache Iceberg."""

__version__ = "0.1.0"
