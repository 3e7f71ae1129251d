"""tap-postgres: the program."""

from __future__ import annotations

from tap_kit.program import start


def main() -> None:
    """Run tap-postgres and exit."""
    start("tap_postgres.tap:TapPostgres")
