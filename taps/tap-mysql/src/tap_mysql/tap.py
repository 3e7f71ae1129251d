"""tap-mysql: the tap's class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tap_kit.database.tap import DatabaseTap
from tap_mysql.settings import CONFIG_JSONSCHEMA, read_settings

if TYPE_CHECKING:
    from tap_kit.database.settings import Reading
    from tap_mysql.database import MySql


class TapMySQL(DatabaseTap):
    """Singer tap for MySQL and MariaDB."""

    name = "tap-mysql"
    package_name = "dativo-tap-mysql"
    config_jsonschema: ClassVar[dict[str, Any]] = CONFIG_JSONSCHEMA

    def opened(self) -> tuple[MySql, Reading]:
        """The database and what to read."""
        from tap_mysql.database import MySql

        settings, reading = read_settings(self.config)
        return MySql(settings), reading
