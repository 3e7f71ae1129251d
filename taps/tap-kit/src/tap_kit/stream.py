"""What streams that hand whole tables to a lane have in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NoReturn

from singer_sdk import Stream

from tap_kit import logs
from tap_kit.columns import columns_of
from tap_kit.lanes import open_lane
from tap_kit.tap import selected_schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from contextlib import AbstractContextManager

    from singer_sdk.helpers._batch import BaseBatchFileEncoding, BatchConfig
    from singer_sdk.helpers.types import Context

    from tap_kit.lanes import Lane
    from tap_kit.tap import Tap

SAMPLE_ENV = "DATIVO_SAMPLE_RECORDS"
"""As many records of each stream are wanted; what is there besides does not matter."""


class LaneStream(Stream):
    """A stream whose rows come as Arrow tables; subclasses write `extract`."""

    def __init__(self, tap: Tap, name: str) -> None:
        self.kit_tap = tap
        self.sent = 0
        super().__init__(tap, name=name)
        if wanted := os.environ.get(SAMPLE_ENV):
            self.ABORT_AT_RECORD_COUNT = int(wanted)

    def extract(self) -> None:
        """Write all rows, with the STATEs among them; the last STATE is written by whoever calls."""
        raise NotImplementedError

    def get_replication_key_signpost(self, context: Context | None = None) -> None:
        """None: where a read ends is decided by `extract`."""

    def get_records(self, context: Context | None) -> NoReturn:
        """Not used: the SDK asks for batches, and what they are is decided by `open_lane`."""
        raise NotImplementedError(f"{type(self).__name__} has no single records; it writes tables to a lane")

    def get_batch_config(self, config: Mapping[str, Any]) -> BatchConfig | None:
        """Always one, so that both lanes take the same way through the SDK."""
        batches = config.get("batch_config") or {"encoding": {"format": "none"}, "storage": {"root": ""}}
        return super().get_batch_config({"batch_config": batches})

    def get_batches(
        self,
        batch_config: BatchConfig,  # noqa: ARG002 - `open_lane` reads the setting itself
        context: Context | None = None,  # noqa: ARG002
    ) -> Iterable[tuple[BaseBatchFileEncoding, list[str]]]:
        """Extract. The lane writes the messages, so that nothing is left for the SDK to write."""
        self.extract()
        self.write_state()
        return ()

    @property
    def is_enough(self) -> bool:
        """A test of the connection wants a record or two, and a sample no more than it says."""
        return self.ABORT_AT_RECORD_COUNT is not None and self.sent >= self.ABORT_AT_RECORD_COUNT

    def lane(self) -> AbstractContextManager[Lane]:
        """The configured lane; RECORD where there are objects and arrays, which only the target can take apart."""
        schema = selected_schema(self)
        types = {column.name: column.type for column in columns_of(schema)}
        config = {} if "nested" in types.values() else self.config
        json_columns = {name for name, word in types.items() if word in {"json", "nested"}}
        return open_lane(config, self.name, schema, self.kit_tap.lines, json_columns)

    def write_state(self) -> None:
        """A STATE; it covers what the lane has flushed."""
        self.kit_tap.state_writer.write_state(self.tap_state)

    def announce(self, event_type: str, message: str, **fields: Any) -> None:
        """An event of this stream."""
        logs.event(self.logger, event_type, message, stream=self.name, **fields)
