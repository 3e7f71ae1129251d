"""What a Singer target for a lake has to do, as tests to inherit: any target, any catalog.

    class TestMyTarget(TargetConformance):
        def load(self, directory, messages, settings): ...
        def rows(self, directory, table): ...

Messages are the `.singer` files beside this module. Settings are named as the Singer SDK and the targets of Meltano Hub name
them (load_method, hard_delete, add_record_metadata); whoever names them otherwise translates in `load`.
"""

from __future__ import annotations

import datetime as dt
import gzip
import json
import uuid
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UTC = dt.timezone.utc


@dataclass(frozen=True)
class Loaded:
    """How a run of the target ended."""

    exit_code: int
    states: tuple[Any, ...]
    """STATE values that left its standard output, in their order."""
    stderr: str


def messages_of(case: str) -> bytes:
    """The messages of a case."""
    return (files("target_iceberg.testing") / "cases" / f"{case}.singer").read_bytes()


class TargetConformance:
    """Inherit it, say how the target is run and how its tables are read, and pytest does the rest."""

    def load(self, directory: Path, messages: bytes, settings: Mapping[str, Any]) -> Loaded:
        """Run the target on messages, with its lake below a directory that later calls of a test share."""
        raise NotImplementedError

    def rows(self, directory: Path, table: str) -> list[dict[str, Any]]:
        """Rows of the table of a stream as a reader sees them; [] when there is none."""
        raise NotImplementedError

    def good(self, directory: Path, case: str, **settings: Any) -> Loaded:
        """Load a case that has to succeed."""
        done = self.load(directory, messages_of(case), settings)
        assert done.exit_code == 0, done.stderr
        return done

    def refused(self, directory: Path, case: str, **settings: Any) -> Loaded:
        """Load a case that has to fail, without a traceback."""
        done = self.load(directory, messages_of(case), settings)
        assert done.exit_code != 0
        assert "Traceback" not in done.stderr
        return done

    def by_id(self, directory: Path, table: str = "orders") -> dict[int, dict[str, Any]]:
        """Rows by id; no id may be there twice."""
        found = self.rows(directory, table)
        ids = {r["id"]: r for r in found}
        assert len(ids) == len(found), "an id is there twice"
        return ids

    # -- writing ------------------------------------------------------------------------------------------------------------

    def test_upsert_keeps_the_last_row_of_a_key(self, tmp_path: Path) -> None:
        self.good(tmp_path, "upsert_1")
        assert {i: r["status"] for i, r in self.by_id(tmp_path).items()} == {1: "paid", 2: "new"}
        self.good(tmp_path, "upsert_2")
        assert {i: r["status"] for i, r in self.by_id(tmp_path).items()} == {1: "paid", 2: "paid", 3: "new"}

    def test_a_second_run_of_the_same_messages_changes_nothing(self, tmp_path: Path) -> None:
        for _ in range(2):
            self.good(tmp_path, "upsert_1")
        assert sorted(self.by_id(tmp_path)) == [1, 2]

    def test_a_stream_without_key_is_appended(self, tmp_path: Path) -> None:
        for rows in (2, 4):
            self.good(tmp_path, "append")
            assert len(self.rows(tmp_path, "log")) == rows

    def test_overwrite_replaces_the_table(self, tmp_path: Path) -> None:
        self.good(tmp_path, "upsert_1", load_method="overwrite")
        self.good(tmp_path, "upsert_2", load_method="overwrite")
        assert sorted(self.by_id(tmp_path)) == [2, 3]

    def test_state_leaves_after_the_rows_before_it(self, tmp_path: Path) -> None:
        done = self.good(tmp_path, "upsert_1")
        assert done.states[-1] == {"bookmarks": {"orders": 2}}

    def test_streams_may_alternate(self, tmp_path: Path) -> None:
        self.good(tmp_path, "interleaved")
        assert sorted(self.by_id(tmp_path, "a")) == list(range(0, 20, 2))
        assert sorted(self.by_id(tmp_path, "b")) == list(range(1, 20, 2))

    # -- values -------------------------------------------------------------------------------------------------------------

    def test_values_keep_their_types_and_digits(self, tmp_path: Path) -> None:
        self.good(tmp_path, "types")
        found = self.by_id(tmp_path, "types")
        row = found[1]
        assert row["big"] == Decimal("1234567890123456789012345678.0123456789")
        assert row["price"] == Decimal("12.34")
        assert (row["x"], row["ok"], row["either"]) == (1e-300, True, 7)
        assert row["day"] == dt.date(2026, 2, 28)
        assert row["at"] == dt.datetime(2026, 3, 4, 3, 6, 7, 123456, tzinfo=UTC)
        assert row["clock"] == dt.time(23, 59, 59)
        assert str(row["ref"] if isinstance(row["ref"], (str, uuid.UUID)) else uuid.UUID(bytes=row["ref"])) == "12345678-1234-4234-9234-123456789abc"  # fmt: skip
        assert row["tags"] == ["a", None, "ü"]
        assert row["address"] == {"city": "Ulm", "zip": 89079}
        assert json.loads(row["free"]) == {"b": [1, 2], "a": None}
        assert {v for k, v in found[2].items() if k != "id" and not k.startswith("_sdc")} == {None}

    def test_an_integer_beyond_64_bit_is_refused(self, tmp_path: Path) -> None:
        self.refused(tmp_path, "too_big")
        assert self.rows(tmp_path, "orders") == []

    def test_a_record_of_ten_megabytes_is_loaded(self, tmp_path: Path) -> None:
        schema = b'{"type":"SCHEMA","stream":"orders","schema":{"properties":{"id":{"type":"integer"},"t":{"type":"string"}}},"key_properties":["id"]}\n'
        record = b'{"type":"RECORD","stream":"orders","record":{"id":1,"t":"' + b"x" * 10_000_000 + b'"}}\n'
        done = self.load(tmp_path, schema + record, {})
        assert done.exit_code == 0, done.stderr
        assert len(self.by_id(tmp_path)[1]["t"]) == 10_000_000

    def test_names_of_any_kind_are_columns(self, tmp_path: Path) -> None:
        self.good(tmp_path, "odd_names")
        row = self.by_id(tmp_path)[1]
        assert {v for k, v in row.items() if k != "id" and not k.startswith("_sdc")} == {k for k in row if k != "id" and not k.startswith("_sdc")}  # fmt: skip
        assert len([k for k in row if not k.startswith("_sdc")]) == 8

    # -- messages -----------------------------------------------------------------------------------------------------------

    def test_a_column_may_come_go_and_come_back(self, tmp_path: Path) -> None:
        self.good(tmp_path, "new_column")
        assert {i: r["note"] for i, r in self.by_id(tmp_path).items()} == {1: None, 2: "x", 3: None, 4: "y"}

    def test_spaces_blank_lines_and_other_orders_of_keys_are_read(self, tmp_path: Path) -> None:
        self.good(tmp_path, "spaced")
        assert sorted(self.by_id(tmp_path)) == [1, 2, 3]

    def test_unknown_messages_are_skipped(self, tmp_path: Path) -> None:
        self.good(tmp_path, "unknown_message")
        assert sorted(self.by_id(tmp_path)) == [1]

    @pytest.mark.parametrize("case", ["record_before_schema", "not_a_message"])
    def test_what_is_no_singer_stream_is_refused_and_publishes_nothing(self, tmp_path: Path, case: str) -> None:
        self.refused(tmp_path, case)
        assert self.rows(tmp_path, "orders") == []

    def test_a_batch_of_json_lines_is_loaded(self, tmp_path: Path) -> None:
        file = tmp_path / "part.json.gz"
        file.write_bytes(gzip.compress(b'{"id": 1}\n{"id": 2}\n'))
        schema = b'{"type":"SCHEMA","stream":"orders","schema":{"properties":{"id":{"type":"integer"}}},"key_properties":["id"]}\n'
        encoding = {"format": "jsonl", "compression": "gzip"}
        message = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": [file.as_uri()]}
        done = self.load(tmp_path, schema + json.dumps(message).encode() + b"\n", {})
        assert done.exit_code == 0, done.stderr
        assert sorted(self.by_id(tmp_path)) == [1, 2]

    # -- the contract -------------------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("case", ["bad_record", "null_key"])
    def test_a_record_that_breaks_its_schema_is_not_loaded(self, tmp_path: Path, case: str) -> None:
        self.refused(tmp_path, case)
        assert self.rows(tmp_path, "orders") == []

    def test_good_records_may_be_loaded_without_the_bad_ones(self, tmp_path: Path) -> None:
        self.good(tmp_path, "bad_record", violations="warn")
        assert sorted(self.by_id(tmp_path)) == [1]

    # -- deletions ----------------------------------------------------------------------------------------------------------

    def test_a_deleted_row_leaves_the_table(self, tmp_path: Path) -> None:
        self.good(tmp_path, "deleted_1", hard_delete=True)
        self.good(tmp_path, "deleted_2", hard_delete=True)
        assert sorted(self.by_id(tmp_path)) == [2]

    def test_a_deleted_row_may_stay_with_the_time_of_its_deletion(self, tmp_path: Path) -> None:
        self.good(tmp_path, "deleted_1")
        self.good(tmp_path, "deleted_2")
        assert {i: r["_sdc_deleted_at"] is not None for i, r in self.by_id(tmp_path).items()} == {1: True, 2: False}

    def test_rows_of_an_earlier_version_leave_the_table(self, tmp_path: Path) -> None:
        for case in ("version_1", "version_2"):
            self.good(tmp_path, case, hard_delete=True, add_record_metadata=True)
        assert sorted(self.by_id(tmp_path)) == [2, 3]
