"""tap-csv: the tap's class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tap_csv.settings import CONFIG_JSONSCHEMA, read_settings
from tap_csv.stream import CsvStream
from tap_kit.tap import Tap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from singer_sdk import Stream


class TapCSV(Tap):
    """Singer tap for CSV files."""

    name = "tap-csv"
    package_name = "dativo-tap-csv"
    config_jsonschema: ClassVar[dict[str, Any]] = CONFIG_JSONSCHEMA

    def discover_streams(self) -> Sequence[Stream]:
        """One stream for each object of the configuration."""
        settings = read_settings(self.config)
        return [CsvStream(self, name, settings) for name in settings.streams]
