"""Settings of tap-mysql: as a JSON Schema for `--about` and Meltano, and as a value for the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tap_kit.database.settings import NUMBER, SETTINGS, TEXT, Reading, number, read_reading
from tap_kit.errors import TapError
from tap_kit.secrets import secret, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SslMode = Literal["disabled", "required", "verify_ca", "verify_identity"]
CONFIG_JSONSCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "host": {**TEXT, "description": "Name or address."},
        "port": {**NUMBER, "description": "3306 unless given."},
        "unix_socket": {**TEXT, "description": "File of the server's Unix socket, instead of host and port."},
        "database": {**TEXT, "description": "Database to read; also that of tables without one in their name."},
        **settings_of("username", "User to log in as"),
        **settings_of("password", "Password of the user"),
        "ssl_mode": {
            **TEXT,
            "enum": ["disabled", "required", "verify_ca", "verify_identity", None],
            "description": "disabled unless given.",
        },
        "ssl_ca": {**TEXT, "description": "File with the certificates to trust."},
        "connect_timeout_s": {**NUMBER, "description": "How long a connection may take; 10 unless given."},
        "statement_timeout_s": {**NUMBER, "description": "How long one statement may run; no limit unless given."},
        **SETTINGS,
    },
}
"""JSON Schema of the settings."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the database is reached."""

    host: str | None
    port: int
    unix_socket: str | None
    database: str
    user: str
    password: str
    ssl_mode: SslMode
    ssl_ca: str | None
    connect_timeout_s: int
    statement_timeout_s: float

    @property
    def where(self) -> str:
        """Server and database as messages name them."""
        return f"{self.unix_socket or f'{self.host}:{self.port}'}/{self.database}"


def read_settings(config: Mapping[str, Any]) -> tuple[Settings, Reading]:
    """Read a configuration that fits CONFIG_JSONSCHEMA.

    Raises:
        TapError: lists everything that is missing or contradicts itself.
    """
    problems: list[str] = []
    user, password = (secret(config, name, problems) for name in ("username", "password"))
    host, socket, database = (config.get(name) for name in ("host", "unix_socket", "database"))
    if not host and not socket:
        problems.append("host is missing")
    problems += [f"{name} is missing" for name, value in (("database", database), ("username", user)) if not value]
    port = int(number(config, "port", 3306, problems))
    connect_timeout = int(number(config, "connect_timeout_s", 10, problems))
    statement_timeout = number(config, "statement_timeout_s", 0, problems)
    ssl_mode: SslMode = config.get("ssl_mode") or "disabled"
    if ssl_mode.startswith("verify") and not config.get("ssl_ca"):
        problems.append(f"ssl_mode {ssl_mode} needs ssl_ca, a file with the certificates to trust")
    reading = read_reading(config, str(database or ""), "`", problems)
    if problems:
        raise TapError("settings of tap-mysql: " + "; ".join(problems))
    settings = Settings(
        host=host,
        port=port,
        unix_socket=socket,
        database=str(database),
        user=str(user),
        password=password or "",
        ssl_mode=ssl_mode,
        ssl_ca=config.get("ssl_ca"),
        connect_timeout_s=max(1, connect_timeout),
        statement_timeout_s=statement_timeout,
    )
    return settings, reading
