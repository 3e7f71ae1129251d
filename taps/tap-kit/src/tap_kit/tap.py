"""The shell of a tap: command line, catalog, signals, error boundary. What a tap extracts lies in its streams."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any, ClassVar, cast

import click
from singer_sdk import Tap as SdkTap
from singer_sdk.helpers.capabilities import PluginCapabilities, TapCapabilities
from singer_sdk.plugin_base import PluginBase

from singer_arrow import BatchError
from tap_kit import logs
from tap_kit.errors import TapError
from tap_kit.lines import LineWriter

if TYPE_CHECKING:
    from types import FrameType

    from singer_sdk import Stream
    from singer_sdk.helpers.capabilities import CapabilitiesEnum

EXIT_FAILED = 1


class Tap(SdkTap):
    """A Singer SDK tap that keeps the catalog's schemas as they were written.

    The SDK reads a catalog into classes that know a fixed list of JSON Schema keywords and forgets the others, among
    them `x-dativo-type`, `precision` and `scale`, which say what the columns really are.
    """

    capabilities: ClassVar[list[CapabilitiesEnum]] = [
        TapCapabilities.CATALOG,
        TapCapabilities.STATE,
        TapCapabilities.DISCOVER,
        PluginCapabilities.ABOUT,
        PluginCapabilities.BATCH,
        PluginCapabilities.STRUCTURED_LOGGING,
    ]
    message_writer_class = LineWriter
    dynamic_catalog = True  # so that --discover checks the settings before it reads anything

    def __init__(self, *, catalog: Any = None, setup_mapper: bool = True, **kwargs: Any) -> None:
        entries = catalog.get("streams", []) if isinstance(catalog, dict) else []
        self._entries = {entry.get("stream") or entry.get("tap_stream_id"): entry for entry in entries}
        super().__init__(catalog=catalog, setup_mapper=setup_mapper, **kwargs)
        unknown = sorted(set(self.config) - set(self.config_jsonschema["properties"]))
        if unknown:
            message = f"settings that {self.name} does not know, and ignores: {', '.join(unknown)}"
            logs.event(self.logger, "settings_ignored", message, level=logging.WARNING, settings=unknown)

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Add nothing: the SDK would add settings of stream maps and flattening, which our lanes do not have."""

    def catalog_schema(self, stream: str) -> dict[str, Any] | None:
        """JSON Schema of a stream exactly as the given catalog has it; None when it has none."""
        schema: dict[str, Any] | None = self._entries.get(stream, {}).get("schema")
        return schema

    def catalog_method(self, stream: str) -> str | None:
        """Replication method that the given catalog forces on a stream."""
        entry = self._entries.get(stream, {})
        method = entry.get("replication_method") or self.catalog_metadata(stream).get("forced-replication-method")
        return str(method) if method else None

    def catalog_metadata(self, stream: str) -> dict[str, Any]:
        """What the given catalog says of a stream as a whole."""
        for item in self._entries.get(stream, {}).get("metadata") or ():
            if not item.get("breadcrumb"):
                return dict(item.get("metadata") or {})
        return {}

    @property
    def lines(self) -> LineWriter:
        """The writer of stdout."""
        return cast("LineWriter", self.message_writer)

    @property
    def catalog_dict(self) -> dict[str, Any]:
        """What --discover prints: the SDK's catalog with our full schemas in it."""
        catalog = cast("dict[str, Any]", super().catalog_dict)
        for entry in catalog["streams"]:
            entry["schema"] = self.streams[entry["tap_stream_id"]].schema
        return catalog

    def setup_mapper(self) -> None:
        """Register each selected stream with its full schema; SCHEMA messages are made from what is registered."""
        PluginBase.setup_mapper(self)
        for stream in self.streams.values():
            if stream.selected:
                self.mapper.register_raw_stream_schema(stream.name, selected_schema(stream), stream.primary_keys)

    def _handle_termination(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop at once and say so. The SDK would exit 0, which reads like a finished extraction."""
        raise SystemExit(128 + signum)

    @classmethod
    def main(cls) -> None:
        """Entry point of the executable, and the only place that catches everything."""
        logs.configure(cls.name)
        logger = logging.getLogger(cls.name)
        try:
            # Not `main()` of click, which ends the program without a word when the pipe is closed.
            command = cls.get_singer_command()
            with command.make_context(cls.name, sys.argv[1:]) as context:
                command.invoke(context)
            sys.exit(0)
        except click.exceptions.Exit as e:
            sys.exit(e.exit_code)
        except click.ClickException as e:
            e.show()
            sys.exit(e.exit_code)
        except (TapError, BatchError) as e:
            logs.event(logger, "tap_failed", str(e), level=logging.ERROR)
        except BrokenPipeError:
            logs.event(logger, "tap_failed", "the target closed the pipe; see its own message", level=logging.ERROR)
            # What is still buffered would only complain when the interpreter flushes it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        except Exception:
            logger.exception("internal error; please report it with its traceback")
        sys.exit(EXIT_FAILED)


def selected_schema(stream: Stream) -> dict[str, Any]:
    """The stream's schema with only the properties that the catalog selects; key properties always stay."""
    schema = stream.schema
    mask = stream.mask
    properties = {
        name: definition
        for name, definition in schema["properties"].items()
        if mask["properties", name] or name in stream.primary_keys
    }
    required = [name for name in schema.get("required", []) if name in properties]
    return {**schema, "properties": properties, **({"required": required} if "required" in schema else {})}
