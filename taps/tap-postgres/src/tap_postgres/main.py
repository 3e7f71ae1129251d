"""tap-postgres: the program."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tap_kit.program import start

if TYPE_CHECKING:
    from tap_postgres.tap import TapPostgres


def main() -> None:
    """Run tap-postgres and exit."""
    start(_tap)


def _tap() -> type[TapPostgres]:
    from tap_postgres.tap import TapPostgres

    return TapPostgres
