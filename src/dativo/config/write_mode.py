"""How a stream is written when nobody says: a full refresh replaces, a key means upsert, and the rest appends; as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from dativo.config.model.contract import Contract
    from dativo.config.model.resolved import ResolvedJob
    from target_iceberg.load_plan import WriteMode


def write_mode(job: ResolvedJob, contract: Contract) -> WriteMode:
    """The job's word, else what follows from strategy and key."""
    if job.target.write_mode is not None:
        return cast("WriteMode", job.target.write_mode)
    if job.source.incremental.is_full_refresh:
        return "replace"
    return "upsert" if contract.key else "append"


def file_format(job: ResolvedJob, contract: Contract) -> str:
    """The job's word, else the contract's; Iceberg's own files are Parquet."""
    said = job.target.file_format or contract.target.file_format or "parquet"
    return "parquet" if said == "iceberg" else said


def reads_files(job: ResolvedJob) -> bool:
    """Rows carry the file they came from, so that a changed file replaces its own."""
    return job.source.connector_type.category == "files"
