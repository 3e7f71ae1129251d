"""tap-csv: the program."""

from __future__ import annotations

from tap_kit.program import start


def main() -> None:
    """Run tap-csv and exit."""
    start("tap_csv.tap:TapCSV")
