"""A database per test on a real server, and the tap run against it inside the test process."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pymysql
import pytest

from tap_kit.testing import Output, catalog_of, run_tap
from tap_mysql.tap import TapMySQL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Database:
    """A database of its own, and settings of a tap that reads it."""

    def __init__(self, server: Any, name: str) -> None:
        self.server, self.name = server, name
        self.connection = pymysql.connect(
            host=server.host,
            port=server.port,
            user=server.user,
            password=server.password,
            database=name,
            autocommit=True,
        )

    def run(self, *statements: str) -> None:
        """Statements without rows."""
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def config(self, *tables: Any, **more: Any) -> dict[str, Any]:
        """Settings for some tables."""
        where = {"host": self.server.host, "port": self.server.port, "database": self.name}
        who = {"username": self.server.user, "password_env": "TEST_MYSQL_PASSWORD"}
        return {**where, **who, **({"tables": list(tables)} if tables else {}), "retry_s": 60, **more}


@pytest.fixture
def database(mariadb_server: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    """An empty database."""
    monkeypatch.setenv("TEST_MYSQL_PASSWORD", mariadb_server.password)
    name = f"t{uuid.uuid4().hex[:16]}"
    server = mariadb_server
    admin = pymysql.connect(host=server.host, port=server.port, user=server.user, password=server.password)
    with admin, admin.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
        made = Database(server, name)
        yield made
        made.connection.close()
        cursor.execute(f"DROP DATABASE {name}")


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Output]:
    """`sync(config, catalog=…, state=…, lane="record" | "arrow")`."""
    batches = tmp_path / ".batches"
    batches.mkdir()
    monkeypatch.setenv("DATIVO_BATCH_DIR", str(batches))

    def run(config: dict[str, Any], catalog: Any = None, state: Any = None, lane: str = "record") -> Output:
        output = run_tap(TapMySQL, config, catalog=catalog, state=state, lane=lane)
        assert not list(batches.iterdir())
        return output

    return run


@pytest.fixture(params=["record", "arrow"])
def lane(request: pytest.FixtureRequest) -> str:
    """Both lanes."""
    return str(request.param)


@pytest.fixture
def catalog() -> Callable[..., dict[str, Any]]:
    """`catalog(stream, {column: type}, keys, replication_method=…)`."""
    return catalog_of
