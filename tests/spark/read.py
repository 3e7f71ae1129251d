"""Reads the tables with Spark and compares them with what PyIceberg saw. Usage: read.py DIRECTORY (in Spark's environment)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyspark.sql import SparkSession

PACKAGES = "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.11.0,org.apache.iceberg:iceberg-aws-bundle:1.11.0,org.xerial:sqlite-jdbc:3.50.3.0"


def embedded(name: str, directory: Path) -> dict[str, str]:
    """Settings of a catalog in a file of SQLite's."""
    at = f"spark.sql.catalog.{name}"
    return {
        at: "org.apache.iceberg.spark.SparkCatalog",
        f"{at}.type": "jdbc",
        f"{at}.uri": f"jdbc:sqlite:{directory}/catalog.db",
        f"{at}.warehouse": f"file://{directory}/warehouse",
        f"{at}.jdbc.schema-version": "V1",
    }


def main() -> None:
    """Compare every table; exit 1 when one differs."""
    directory = Path(sys.argv[1]).resolve()
    expected = json.loads((directory / "expected.json").read_text())
    servers = expected.pop("servers")
    settings = {
        "spark.ui.enabled": "false",
        "spark.jars.packages": PACKAGES,
        "spark.sql.session.timeZone": "UTC",
        **embedded("lake", directory),
        **embedded("postgres", directory / "postgres/lake/bench"),
        **embedded("mysql", directory / "mysql/lake/bench"),
        "spark.sql.catalog.nessie": "org.apache.iceberg.spark.SparkCatalog",
        "spark.sql.catalog.nessie.type": "rest",
        "spark.sql.catalog.nessie.uri": f"{servers['nessie']}/iceberg/{servers['branch']}",
        "spark.sql.catalog.nessie.io-impl": "org.apache.iceberg.aws.s3.S3FileIO",
        "spark.sql.catalog.nessie.s3.endpoint": servers["s3"],
        "spark.sql.catalog.nessie.s3.path-style-access": "true",
        "spark.sql.catalog.nessie.s3.access-key-id": servers["access_key"],
        "spark.sql.catalog.nessie.s3.secret-access-key": servers["secret_key"],
        "spark.sql.catalog.nessie.client.region": "us-east-1",
    }
    builder = SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    different = []
    for catalog, tables in expected.items():
        for table, wanted in tables.items():
            rows = wanted["rows"]
            found = [list(r) for r in spark.sql(wanted["query"].format(f"{catalog}.{table}")).collect()]
            said = "the same" if found == rows else "DIFFERENT"
            print(f"{catalog} {table}: {len(found)} rows in Spark, {len(rows)} in PyIceberg: {said}")
            if found != rows or not rows:
                different.append(table)
    spark.stop()
    if different or not expected:
        sys.exit(1)


if __name__ == "__main__":
    main()
