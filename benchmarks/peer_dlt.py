"""The same table by dlt (connectorx backend) into an Iceberg table, in a virtual environment of its own.

peer_dlt.py postgres|mysql URI SCHEMA TABLE DIRECTORY
"""

from __future__ import annotations

import os
import sys


def main(kind: str, uri: str, schema: str, table: str, directory: str) -> None:
    """Load it."""
    os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
    os.environ["DATA_WRITER__FILE_MAX_BYTES"] = str(128 << 20)
    import dlt
    from dlt.sources.sql_database import sql_table

    driver = {"postgres": "postgresql+psycopg2", "mysql": "mysql+pymysql"}[kind]
    plain = uri if uri.startswith(("postgresql:", "mysql:")) else uri.replace("postgres:", "postgresql:", 1)
    source = sql_table(
        credentials=f"{driver}://{plain.split('://', 1)[1]}",
        schema=schema,
        table=table,
        backend="connectorx",
        reflection_level="full_with_precision",
        backend_kwargs={"return_type": "arrow_stream", "batch_size": 65_536, "conn": plain},
    )
    destination = dlt.destinations.filesystem(bucket_url=f"file://{directory}/lake")
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="bench", pipelines_dir=f"{directory}/work")
    pipeline.run(source, write_disposition="replace", table_format="iceberg")


if __name__ == "__main__":
    main(*sys.argv[1:])
