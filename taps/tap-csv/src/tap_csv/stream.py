"""One stream: its files, which of them to read, and what to do with what is in them."""

from __future__ import annotations

import logging
import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib.catalog import REPLICATION_FULL_TABLE, REPLICATION_INCREMENTAL

from tap_csv.bookmark import FileBookmark
from tap_csv.columns import PROVENANCE, columns_of
from tap_csv.discovery import described, discover_schema, further_columns
from tap_csv.files import find, is_pattern, key_of
from tap_csv.header import lay_out
from tap_csv.reading import opened
from tap_kit.errors import TapError
from tap_kit.stream import LaneStream
from tap_kit.tap import selected_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tap_csv.files import SourceFile
    from tap_csv.header import Layout
    from tap_csv.parse import Parsed
    from tap_csv.reading import CsvFile
    from tap_csv.settings import Settings
    from tap_kit.lanes import Lane
    from tap_kit.tap import Tap

_STATE_EVERY_FILES = 100
_STATE_EVERY_S = 1.0


class CsvStream(LaneStream):
    """Rows of all files of the configuration that carry this stream's name.

    INCREMENTAL, without a replication key: files that the bookmark knows and that are unchanged are not read again.
    A catalog may say FULL_TABLE; then every run reads every file.
    """

    def __init__(self, tap: Tap, name: str, settings: Settings) -> None:
        super().__init__(tap, name)
        self._settings = settings
        self._announced: set[tuple[str, ...]] = set()
        self._state_written_s = 0.0
        self.forced_replication_method = REPLICATION_INCREMENTAL
        self.primary_keys = list(dict.fromkeys(key for s in settings.of_stream(name) for key in s.keys))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The catalog's schema as it was given, else one inferred from the files."""
        given = self.kit_tap.catalog_schema(self.name)
        if given is not None:
            properties = {**given.get("properties", {}), **_missing_provenance(given)}
            if given.get("additionalProperties") is True:
                properties |= further_columns(self._files[0], properties)
            return {**given, "properties": properties}
        schema = discover_schema(self._files[0], self.primary_keys)
        message = f"{self.name}: no types are given; inferred from the first records: {described(schema) or 'nothing'}"
        self.announce("types_inferred", message, types={n: p["type"] for n, p in schema["properties"].items()})
        return schema

    def extract(self) -> None:
        """All files that are new or have changed."""
        todo = self._to_read()
        if todo:
            with self.lane() as lane:
                for file in todo:
                    if self.is_enough:
                        break
                    self._read(file, lane)
                lane.flush()

    @cached_property
    def _files(self) -> tuple[list[SourceFile], list[str]]:
        """All files of the stream, and the patterns that match none."""
        files: dict[str, SourceFile] = {}
        unmatched = []
        for file_set in self._settings.of_stream(self.name):
            found, missing = find(file_set, self._settings.base)
            unmatched += missing
            for file in found:
                files.setdefault(file.key, file)
        return list(files.values()), unmatched

    @cached_property
    def _bookmark(self) -> FileBookmark:
        return FileBookmark(self.stream_state)

    def _to_read(self) -> list[SourceFile]:
        """New and changed files; reports those that are not there."""
        files, unmatched = self._files
        for pattern in unmatched:
            if (
                not is_pattern(pattern)
                and key_of(self._settings.base / pattern, self._settings.base) not in self._bookmark
            ):
                raise TapError(
                    f"{self._settings.base / pattern}: no such file (stream {self.name}); check path and base_path"
                )
        if not files:
            self.announce("no_files", f"{self.name}: no file matches {', '.join(unmatched)}", level=logging.WARNING)
        for key in self._bookmark.mark_vanished({file.key for file in files}):
            message = f"{self.name}: {key} was read before and is not there any more; its rows stay"
            self.announce("file_vanished", message, file=key, level=logging.WARNING)
        if self.replication_method == REPLICATION_FULL_TABLE:
            self._bookmark.clear()
        todo = [file for file in files if self._is_recent(file) and not self._bookmark.is_unchanged(file)]
        found = f"{len(files)} {'file' if len(files) == 1 else 'files'}"
        self.announce("files_found", f"{self.name}: {found}, {len(todo)} to read", files=len(files), new=len(todo))
        return todo

    def _is_recent(self, file: SourceFile) -> bool:
        start = self._settings.start_date
        return start is None or file.stat().modified_ns >= start.timestamp() * 1_000_000_000

    def _read(self, file: SourceFile, lane: Lane) -> None:
        """One file from its beginning to its end, then a bookmark."""
        rejected = records = 0
        with opened(file) as csv_file:
            if csv_file.names is None:
                self.announce("file_empty", f"{file.key}: is empty", file=file.key, level=logging.WARNING)
            else:
                for parsed in self._parsed(file, csv_file, csv_file.names):
                    self._send(file, parsed, lane)
                    records += parsed.rows.num_rows
                    rejected += len(parsed.rejects)
                    if self.is_enough:
                        return
            status, sha256 = csv_file.source.finish()
        self._bookmark.remember(file.key, status, sha256, records + rejected)
        message = f"{file.key}: {records:,} records" + (f", {rejected:,} rejected" if rejected else "")
        self.announce("file_read", message, file=file.key, records=records, rejected=rejected, bytes=status.size)
        self._checkpoint(lane)

    def _parsed(self, file: SourceFile, csv_file: CsvFile, names: list[str]) -> Iterable[Parsed]:
        from tap_csv.parse import Parser

        if csv_file.source.encoding != file.dialect.encoding:
            encoding = csv_file.source.encoding
            self._announce_once("encoding", f"{file.key}: read as {encoding}", file=file.key, encoding=encoding)
        schema = selected_schema(self)
        columns = columns_of(schema, self.primary_keys)
        layout = lay_out(names, columns, file.key)
        self._announce_drift(file, layout)
        provenance = [name for name in PROVENANCE if name in schema["properties"]]
        parser = Parser(file.dialect, layout, columns, provenance, file.key)
        return map(parser.parse, csv_file.blocks)

    def _send(self, file: SourceFile, parsed: Parsed, lane: Lane) -> None:
        if not self._settings.emits_rejects:
            _refuse(file, parsed)
        for reject in parsed.rejects:
            source = {"file": file.key, "record": reject.record, "line": reject.line}
            message = f"{file.key}: record {reject.record}, line {reject.line}: {reject.message}"
            self.kit_tap.lines.write_reject(self.name, reject.rule, message, reject.raw, source)
        if self.ABORT_AT_RECORD_COUNT is not None:
            parsed = parsed.head(self.ABORT_AT_RECORD_COUNT - self.sent)
        lane.write(parsed.rows, parsed.misfits)
        self.sent += parsed.rows.num_rows

    def _checkpoint(self, lane: Lane) -> None:
        """A STATE behind each file, but not thousands of them when there are thousands of files to list in each."""
        due = time.monotonic() - self._state_written_s >= _STATE_EVERY_S
        if due or len(self._bookmark) <= _STATE_EVERY_FILES:
            lane.flush()
            self.write_state()
            self._state_written_s = time.monotonic()

    def _announce_drift(self, file: SourceFile, layout: Layout) -> None:
        if layout.extra:
            message = f"{file.key}: columns that are not selected: {', '.join(layout.extra)}"
            self._announce_once("columns_ignored", message, file=file.key, columns=layout.extra)
        if layout.missing:
            message = f"{file.key}: lacks the columns {', '.join(layout.missing)}; they are NULL"
            self._announce_once("columns_missing", message, file=file.key, columns=layout.missing)

    def _announce_once(self, event_type: str, message: str, **fields: Any) -> None:
        """For the first of the files that have this in common."""
        fact = (event_type, *(str(value) for name, value in fields.items() if name != "file"))
        if fact not in self._announced:
            self._announced.add(fact)
            self.announce(event_type, message, **fields)


def _missing_provenance(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {name: p for name, p in PROVENANCE.items() if name not in schema.get("properties", {})}


def _refuse(file: SourceFile, parsed: Parsed) -> None:
    """With `rejects: fail` the first record that is not right ends the run."""
    advice = "correct the file, or set rejects: emit to pass such records to a target that understands them"
    if parsed.rejects:
        reject = parsed.rejects[0]
        raise TapError(f"{file.key}: record {reject.record}, line {reject.line}: {reject.message}; {advice}")
    if parsed.misfits:
        misfit = parsed.misfits[0]
        name = next(iter(misfit.texts))
        record = parsed.numbers[misfit.row]
        kind = parsed.rows.schema.field(name).type
        raise TapError(f"{file.key}: record {record}, column {name!r}: the value is no {kind}; {advice}")
