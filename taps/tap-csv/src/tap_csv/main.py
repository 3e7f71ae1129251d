"""tap-csv: the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_kit.program import start

if TYPE_CHECKING:
    from tap_csv.tap import TapCSV


def main() -> None:
    """Run tap-csv and exit."""
    start(_tap)


def _tap() -> type[TapCSV]:
    from tap_csv.tap import TapCSV

    return TapCSV
