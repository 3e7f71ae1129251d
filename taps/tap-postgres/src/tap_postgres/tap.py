"""tap-postgres: the tap's class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tap_kit.database.tap import DatabaseTap
from tap_postgres.settings import CONFIG_JSONSCHEMA, read_settings

if TYPE_CHECKING:
    from tap_kit.database.settings import Reading
    from tap_postgres.database import Postgres
    from tap_postgres.stream import PostgresStream


class TapPostgres(DatabaseTap):
    """Singer tap for PostgreSQL."""

    name = "tap-postgres"
    package_name = "dativo-tap-postgres"
    config_jsonschema: ClassVar[dict[str, Any]] = CONFIG_JSONSCHEMA

    @classmethod
    def stream_class(cls) -> type[PostgresStream]:
        """A table, or its log."""
        from tap_postgres.stream import PostgresStream

        return PostgresStream

    def opened(self) -> tuple[Postgres, Reading]:
        """The database and what to read."""
        from tap_postgres.database import Postgres

        settings, reading = read_settings(self.config)
        return Postgres(settings), reading
