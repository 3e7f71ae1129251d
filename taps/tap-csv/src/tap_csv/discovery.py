"""The schema of a stream that no catalog describes: from the headers of all its files and its first records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_csv.columns import PROVENANCE
from tap_csv.header import lay_out, refuse_unusable
from tap_csv.reading import opened
from tap_kit.columns import TYPE_KEYWORD, Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from tap_csv.files import SourceFile
    from tap_csv.reading import CsvFile

SAMPLED_KEYWORD = "x-dativo-records-sampled"


def discover_schema(files: Sequence[SourceFile], keys: Sequence[str]) -> dict[str, Any]:
    """JSON Schema with a property for each column of any file, typed by the first 10,000 records.

    `x-dativo-nulls-seen` says for each column whether there was a NULL among them.
    """
    from tap_csv.infer import SAMPLE_RECORDS, infer_properties

    samples: list[pa.Table] = []
    records = 0
    for file in files:
        with opened(file) as csv_file:
            if csv_file.names is None:
                continue
            refuse_unusable(csv_file.names, file.key)
            sample = _sample(file, csv_file, csv_file.names, SAMPLE_RECORDS - records)
        samples.append(sample)
        records += sample.num_rows
    properties = infer_properties(samples)
    return {
        "type": "object",
        "properties": {**properties, **PROVENANCE},
        **({"required": list(keys)} if keys else {}),
        SAMPLED_KEYWORD: records,
    }


def further_columns(files: Sequence[SourceFile], known: Mapping[str, Any]) -> dict[str, Any]:
    """Properties for columns of the files that are not known, in the order they first appear.

    All are text: what looks like a number in the files of today may be none in those of tomorrow.
    """
    found: dict[str, Any] = {}
    for file in files:
        with opened(file) as csv_file:
            for name in csv_file.names or ():
                if name and name not in known:
                    found[name] = {"type": ["null", "string"], TYPE_KEYWORD: "string"}
    return found


def _sample(file: SourceFile, csv_file: CsvFile, names: list[str], limit: int) -> pa.Table:
    """The first records of a file as texts; none when enough have been seen."""
    import pyarrow as pa

    from tap_csv.parse import Parser

    columns = [Column(name, "string") for name in names]
    tables = [pa.table({name: pa.array([], pa.string()) for name in names})]
    if limit > 0:
        parser = Parser(file.dialect, lay_out(names, columns, file.key), columns, (), file.key)
        for block in csv_file.blocks:
            tables.append(parser.parse(block).rows)
            if sum(table.num_rows for table in tables) >= limit:
                break
    return pa.concat_tables(tables).slice(0, max(limit, 0))


def described(schema: dict[str, Any]) -> str:
    """`id long, name string`: what was inferred, for the log."""
    return ", ".join(f"{name} {p[TYPE_KEYWORD]}" for name, p in schema["properties"].items() if name not in PROVENANCE)
