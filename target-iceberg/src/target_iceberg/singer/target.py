"""target-iceberg and target-files as the Singer SDK knows them: settings, `--about`, standard tests, around our own engine.

The engine plugs into the SDK's message reader, the seam that replaces the reading of messages as a whole.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import IO, TYPE_CHECKING, Any, ClassVar, NoReturn

from singer_sdk import Target
from singer_sdk.helpers.capabilities import CapabilitiesEnum, PluginCapabilities
from singer_sdk.singerlib.encoding.base import GenericSingerReader, SingerMessageType

from target_iceberg.errors import InterruptedRun
from target_iceberg.singer import settings as target_settings
from target_iceberg.singer.engine import execute
from target_iceberg.singer.ledger import Ledger, owned_stdout

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class _EngineReader(GenericSingerReader[bytes]):
    target: TargetIceberg

    def process_lines(
        self,
        file_input: IO[Any] | None,
        callbacks: dict[str, Callable[[dict[str, Any]], None]],  # noqa: ARG002  the SDK's sinks are not used
    ) -> Counter[str]:
        logging.getLogger("pyiceberg").setLevel(logging.WARNING)  # it tells of each file system that it opens
        settings = target_settings.from_config(self.target.config, program=self.target.name)
        with owned_stdout() as out:
            counts = execute(settings, file_input or self.default_input, Ledger(out))
        names = {"records": SingerMessageType.RECORD, "schemas": SingerMessageType.SCHEMA}
        names |= {"states": SingerMessageType.STATE, "batches": SingerMessageType.BATCH}
        return Counter({names[k]: n for k, n in counts.items()})

    @property
    def default_input(self) -> IO[bytes]:
        return sys.stdin.buffer

    def deserialize_json(self, line: bytes) -> dict[str, Any]:  # the SDK's loop, which would call it, is replaced
        raise AssertionError(line)


class TargetIceberg(Target):
    """Singer target for Apache Iceberg."""

    name = "target-iceberg"
    config_jsonschema = target_settings.CONFIG
    package_name = "dativo-target-iceberg"
    capabilities: ClassVar[list[CapabilitiesEnum]] = [PluginCapabilities.ABOUT, PluginCapabilities.BATCH]

    def __init__(self, **kwargs: Any) -> None:
        reader = _EngineReader()
        super().__init__(message_reader=reader, setup_mapper=False, **kwargs)
        reader.target = self

    @classmethod
    def append_builtin_config(cls, config_jsonschema: dict[str, Any]) -> None:
        """Offer no setting of the SDK that this engine does not act upon."""

    def _handle_termination(self, signum: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG002  signal's signature
        """Stop without publishing; the SDK's own handler would drain."""
        raise InterruptedRun(signum)


class TargetFiles(TargetIceberg):
    """Singer target for files in an object store."""

    name = "target-files"
    config_jsonschema = target_settings.FILES_CONFIG
