"""`dativo init`: a project that runs as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dativo.errors import DativoError

if TYPE_CHECKING:
    from pathlib import Path

_JOB = """\
# Loads data/orders/*.csv into the table sales.orders of the embedded lake below lake/example/.
# The directory says whose job it is, the file name is the job's name.
tenant_id: example
environment: dev
source_connector: csv
target_connector: iceberg
asset: orders
source:
  files:
    - path: data/orders/*.csv
      object: orders
# strict: one bad record and nothing is published; warn: good records are published, bad ones go to sales.orders__rejects.
schema_validation_mode: strict
"""
_CONTRACT = """\
# What one order looks like; every record is checked against it.
apiVersion: v3.0.2
kind: DataContract
id: urn:example:orders
name: orders
version: "1.0.0"
status: active
domain: sales
schema:
  - name: order_id
    type: integer
    required: true
    primaryKey: true
  - name: customer
    type: string
    required: true
    classification: PII
  - name: ordered_at
    type: timestamp
    required: true
  - name: status
    type: string
    required: true
    enum: [placed, paid, shipped]
  - name: amount
    type: decimal(12,2)
    required: true
    minimum: 0
"""
_DATA = """\
order_id,customer,ordered_at,status,amount
1,Ada Lovelace,2025-01-03T09:15:00Z,paid,19.90
2,Grace Hopper,2025-01-03T11:40:00Z,placed,249.00
3,Katherine Johnson,2025-01-04T08:05:00Z,shipped,5.25
"""
_RECIPE = """\
# How to read CSV files. The files named here are for plain Meltano (`meltano run tap-csv target-iceberg`);
# a job names its own, which replace these.
name: csv
type: csv
default_engine:
  type: native
  options:
    files:
      - {path: "data/orders/*.csv", object: orders}
incremental:
  strategy: file_modified_time
"""
_IGNORE = """\
.dativo/
.meltano/
/lake/
/state/
/secrets/
"""
FILES = {
    "jobs/example/orders.yaml": _JOB,
    "assets/csv/v1.0/orders.yaml": _CONTRACT,
    "connectors/sources/csv.yaml": _RECIPE,
    "data/orders/orders.csv": _DATA,
    ".gitignore": _IGNORE,
}


def init(directory: Path) -> int:
    """Write the files of a small project; refuses to overwrite any.

    Raises:
        DativoError: a file is there already, or the directory cannot be written.
    """
    there = [name for name in FILES if (directory / name).exists() and name != ".gitignore"]
    if there:
        raise DativoError(
            f"{directory}: already has {', '.join(there)}", "choose an empty directory: dativo init my-lake"
        )
    for name, content in FILES.items():
        file = directory / name
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not file.exists():
                file.write_text(content)
                click.echo(f"wrote {file}")
        except OSError as e:
            raise DativoError(f"{file}: cannot be written: {e.strerror}", "choose a directory that is yours") from e
    go = "" if str(directory) == "." else f"cd {directory}\n  "
    click.echo(f"\nNow:\n  {go}dativo run --config jobs/example/orders.yaml\n  dativo table show sales.orders")
    return 0
