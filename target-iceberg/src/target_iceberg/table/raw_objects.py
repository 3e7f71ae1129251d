"""Staged rows as objects that need no Parquet: CSV, lines of JSON, or documents of keys and values.

An object never changes. One that is there already with the same bytes is taken as it is; with other bytes, the new one gets the
first digits of its SHA-256 into its name, and the manifest says which of them counts.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from target_iceberg import path_pattern
from target_iceberg.errors import TargetError
from target_iceberg.table.files_catalog import ObjectEntry
from target_iceberg.table.rewrite import kept_batches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyiceberg.io import FileIO

    from target_iceberg.load_plan import StreamPlan
    from target_iceberg.table.object_store import ObjectStore
    from target_iceberg.table.positions import Positions
    from target_iceberg.table.writer import StagedFile

MAX_OBJECT_BYTES = 32 << 20
"""An object is held in memory, because only a whole one can be made under a condition."""
_BATCH_ROWS = 8_192
_JSON = msgspec.json.Encoder(decimal_format="number")


class ObjectWriter:
    """Writes the objects of one publish of a table.

    Args:
        store: at the root of all tables.
        plan: of the stream.
        run_id: for the path pattern.
        file_columns: column -> its name in the staged files.
    """

    def __init__(self, store: ObjectStore, plan: StreamPlan, run_id: str, file_columns: dict[str, str]) -> None:
        self._store, self._plan, self._run_id = store, plan, run_id
        self._pattern = plan.path_pattern or path_pattern.DEFAULTS[plan.file_format]
        self._columns = path_pattern.columns_of(self._pattern, plan.columns, plan.key)
        self._names = {in_file: name for name, in_file in file_columns.items()}
        self._json = {c.name for c in plan.columns if c.encoding == "json"}
        self._format = _FORMATS[plan.file_format]
        self._now = dt.datetime.now(tz=dt.timezone.utc)
        self._written: list[ObjectEntry] = []
        self._parts = 0

    def write(self, files: FileIO, staged: list[StagedFile], unwanted: Positions) -> list[ObjectEntry]:
        """Make the objects of all staged rows but some.

        Args:
            files: reads the staged ones.
            staged: whose rows they are.
            unwanted: positions of rows to leave out.

        Raises:
            TargetError: a value cannot be written, or would lead out of the table's folder.
            OSError: the store does not answer, or refuses.
        """
        batches = (b for f in staged for b in _wanted(files, f, unwanted))
        tables = (pa.Table.from_batches([b]) for b in batches)
        renamed = (t.rename_columns([self._names.get(n, n) for n in t.column_names]) for t in tables)
        if self._columns:
            for table in renamed:
                for i, values in enumerate(_pylist(table)):
                    self._put(self._format(table.slice(i, 1), self._json, self._title(values)), 1, values)
        else:
            self._in_parts(renamed)
        return self._written

    def _in_parts(self, tables: Iterator[pa.Table]) -> None:
        most = min(MAX_OBJECT_BYTES, self._plan.target_file_size_bytes)
        part, rows = bytearray(), 0
        for table in tables:
            text = self._format(table, self._json, None)
            if rows and self._plan.file_format == "csv":
                text = text[
                    text.index(b"\n") + 1 :
                ]  # the header stands once in an object; names in it have no line breaks
            part += text
            rows += table.num_rows
            if len(part) >= most:
                self._put(bytes(part), rows, {})
                part, rows = bytearray(), 0
        if rows:
            self._put(bytes(part), rows, {})

    def _title(self, values: dict[str, Any]) -> str:
        columns = self._columns.get(path_pattern.DOC_ID) or next(iter(self._columns.values()))
        return "-".join(_text(values[c]) for c in columns)

    def _put(self, data: bytes, rows: int, values: dict[str, Any]) -> None:
        name, digest = self._name(values), hashlib.sha256(data).hexdigest()
        self._parts += 1
        stem, dot, ending = name.rpartition(".")
        other = f"{stem}.{digest[:8]}.{ending}" if dot and "/" not in ending else f"{name}.{digest[:8]}"
        for path in (name, other):
            place = f"{self._plan.table}/{path}"
            if self._store.create(place, data) or self._store.read(place) == data:
                entry = ObjectEntry(path=path, rows=rows, bytes=len(data), sha256=digest, name=name if values else None)
                self._written.append(entry)
                return
        raise TargetError(f"{self._store.root}/{self._plan.table}/{other} is there with other bytes", "storage")

    def _name(self, values: dict[str, Any]) -> str:
        said: dict[str, str] = {
            "date": f"{self._now:%Y-%m-%d}",
            "timestamp": f"{self._now:%Y%m%dT%H%M%SZ}",
            "run_id": self._run_id,
            "part": f"{self._parts:05d}",
        }
        for field, columns in self._columns.items():
            said[field] = "-".join(_text(values[c]) for c in columns)
        path = self._pattern.format(**said)
        levels = path.split("/")
        if any(level in ("", ".", "..") for level in levels) or len(levels) != self._pattern.count("/") + 1:
            raise TargetError(
                f"stream {self._plan.stream}: a record would become the object {path!r}, which is not in the folder of its "
                "table",
                "violations",
            )
        return path


def _wanted(files: FileIO, staged: StagedFile, unwanted: Positions) -> Iterator[pa.RecordBatch]:
    path = staged.data_file.file_path
    keep = np.ones(staged.data_file.record_count, dtype=bool)
    for file, positions in unwanted.by_file:
        if file.file_path == path:
            keep[positions] = False
    with files.new_input(path).open() as stream, pq.ParquetFile(stream) as parquet:
        yield from kept_batches(parquet, keep, _BATCH_ROWS)


def _pylist(table: pa.Table) -> list[dict[str, Any]]:
    try:
        return list(table.to_pylist())
    except (ValueError, OverflowError) as e:
        raise TargetError(
            f"a value cannot be written as text: {e}; leave the column out, or use Parquet", "source"
        ) from e


def _text(value: Any) -> str:
    """A value as it stands in CSV, in documents and in paths."""
    if isinstance(value, str):
        return value
    encoded = _JSON.encode(value).decode()
    return encoded[1:-1] if encoded[:1] == '"' else encoded


def _json_lines(table: pa.Table, json_columns: set[str], title: str | None) -> bytes:  # noqa: ARG001  of documents
    rows = _pylist(table)
    for name in json_columns & set(table.column_names):
        for row in rows:
            row[name] = None if row[name] is None else msgspec.Raw(row[name].encode())
    return bytes(_JSON.encode_lines(rows))


def _csv(table: pa.Table, json_columns: set[str], title: str | None) -> bytes:  # noqa: ARG001  as they stand
    columns = [
        c if pa.types.is_string(c.type) or pa.types.is_integer(c.type) else
        pa.array([None if v is None else _text(v) for v in _pylist_of(c)], pa.string())
        for c in table.columns
    ]  # fmt: skip
    out = io.BytesIO()
    pyarrow.csv.write_csv(pa.table(columns, table.column_names), out)
    return out.getvalue()


def _pylist_of(column: pa.ChunkedArray) -> list[Any]:
    return [row["v"] for row in _pylist(pa.table({"v": column}))]


def _document(table: pa.Table, json_columns: set[str], title: str | None) -> bytes:  # noqa: ARG001  as they stand
    """A heading, and a block of `key: value`; values that would not come back as they are stand as JSON."""
    lines = []
    for row in _pylist(table):
        lines.append(f"# {' '.join((title or _text(next(iter(row.values())))).split())}\n\n```")
        lines += [f"{_key(k)}: {_value(v)}" for k, v in row.items() if v is not None]
        lines.append("```\n")
    return "\n".join(lines).encode()


def _key(name: str) -> str:
    return name if name.isprintable() and ":" not in name and "`" not in name else _JSON.encode(name).decode()


def _value(value: Any) -> str:
    if isinstance(value, str):
        plain = value and value == value.strip() and value.isprintable() and value[0] not in '"[{`'
        return value if plain else _JSON.encode(value).decode()
    return _text(value)


_FORMATS: dict[str, Callable[[pa.Table, set[str], str | None], bytes]] = {
    "csv": _csv,
    "jsonl": _json_lines,
    "markdown_kv": _document,
}
