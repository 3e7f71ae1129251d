"""Settings of tap-postgres: as a JSON Schema for `--about` and Meltano, and as a value for the database."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from tap_kit.database.settings import NUMBER, SETTINGS, TEXT, Reading, number, read_reading
from tap_kit.errors import TapError
from tap_kit.secrets import secret, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

CONFIG_JSONSCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "url": {
            **TEXT,
            "secret": True,
            "description": "postgresql://user@host:port/database?sslmode=…; what else is set here wins over its parts.",
        },
        "url_env": {**TEXT, "description": "Environment variable with the URL."},
        "host": {**TEXT, "description": "Name or address, several with commas, or the directory of a Unix socket."},
        "port": {**NUMBER, "description": "5432 unless given."},
        "database": {**TEXT, "description": "Database to read."},
        **settings_of("username", "Role to log in as"),
        **settings_of("password", "Password of the role"),
        "sslmode": {
            **TEXT,
            "enum": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full", None],
            "description": "As libpq understands it; prefer unless given.",
        },
        "sslrootcert": {**TEXT, "description": "File with the certificates to trust."},
        "sslcert": {**TEXT, "description": "File with the client's certificate."},
        "sslkey": {**TEXT, "description": "File with the key of it."},
        "target_session_attrs": {
            **TEXT,
            "enum": ["any", "read-write", "read-only", "primary", "standby", "prefer-standby", None],
            "description": "Which of several hosts to use; prefer-standby reads from a replica where there is one.",
        },
        "connect_timeout_s": {**NUMBER, "description": "How long a connection may take; 10 unless given."},
        "statement_timeout_s": {**NUMBER, "description": "How long one statement may run; no limit unless given."},
        "application_name": {**TEXT, "description": "How the connection is listed on the server; dativo unless given."},
        **SETTINGS,
        "replication_slot": {**TEXT, "description": "Slot of streams that follow the log; dativo unless given."},
        "publication": {**TEXT, "description": "Publication of these streams; called like the slot unless given."},
        "parallel": {**NUMBER, "description": "Readers at once for tables with a whole number as key; 1 unless given."},
    },
}
"""JSON Schema of the settings."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the database is reached."""

    uri: str
    where: str
    """Server and database as messages name them, without secrets."""
    user: str
    secrets: tuple[str, ...]
    """What no message may repeat."""
    statement_timeout_s: float
    replication_slot: str
    publication: str


def read_settings(config: Mapping[str, Any]) -> tuple[Settings, Reading]:
    """Read a configuration that fits CONFIG_JSONSCHEMA.

    Raises:
        TapError: lists everything that is missing or contradicts itself.
    """
    problems: list[str] = []
    url, user, password = (secret(config, name, problems) for name in ("url", "username", "password"))
    host, database = config.get("host"), config.get("database")
    if not url:
        problems += [f"{name} is missing" for name, value in (("host", host), ("database", database)) if not value]
    elif not re.match(r"postgres(ql)?://", url):
        problems.append("url does not begin with postgresql://")
    port = int(number(config, "port", 5432, problems))
    connect_timeout = int(number(config, "connect_timeout_s", 10, problems))
    statement_timeout = number(config, "statement_timeout_s", 0, problems)
    slot = config.get("replication_slot") or "dativo"
    if not re.fullmatch(r"[a-z0-9_]{1,63}", slot):
        problems.append(f"replication_slot: {slot!r}; write lower case letters, digits and underscores")
    reading = read_reading(config, "public", '"', problems)
    if problems:
        raise TapError("settings of tap-postgres: " + "; ".join(problems))
    parameters = {
        "host": host,
        "port": port if host else None,
        "dbname": database,
        "user": user,
        "password": password,
        **{k: config.get(k) for k in ("sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs")},
        "connect_timeout": connect_timeout,
        "application_name": config.get("application_name") or "dativo",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60_000,
        "client_encoding": "UTF8",
    }
    base = url or "postgresql://"
    given = urlencode({k: v for k, v in parameters.items() if v not in (None, "")}, quote_via=quote)
    return (
        Settings(
            uri=f"{base}{'&' if '?' in base else '?'}{given}",
            where=f"{host}:{port}/{database}" if host else without_secrets(base),
            user=user or _user_of(base) or "the role of this connection",
            secrets=tuple(s for s in (password, _password_of(base)) if s),
            statement_timeout_s=statement_timeout,
            replication_slot=slot,
            publication=config.get("publication") or slot,
        ),
        reading,
    )


def without_secrets(url: str) -> str:
    """The URL without user, password and parameters."""
    return re.sub(r"//.*@", "//", url).partition("?")[0]


def _user_of(url: str) -> str | None:
    found = re.match(r"postgres(?:ql)?://([^:@/]+)(?::[^@]*)?@", url)
    return found[1] if found else None


def _password_of(url: str) -> str | None:
    found = re.match(r"postgres(?:ql)?://[^:@/]*:(.*)@", url) or re.search(r"[?&]password=([^&]*)", url)
    return found[1] if found else None
