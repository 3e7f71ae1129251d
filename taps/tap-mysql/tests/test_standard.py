"""The Singer SDK's own tests of a tap, against a real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_kit.testing import run_sdk_suite
from tap_mysql.tap import TapMySQL

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sdk_suite_holds(database: Any, tmp_path: Path) -> None:
    database.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, status varchar(9), total decimal(9,2), day date, changed timestamp NULL)",
        "INSERT INTO orders VALUES (1, 'new', 1.50, '2024-01-01', '2024-01-01 00:00:00'), (2, NULL, NULL, NULL, NULL)",
    )
    config = database.config({"name": "orders", "cursor_field": "changed"})
    config |= {"password_env": None, "password": database.server.password}
    assert run_sdk_suite(TapMySQL, config, tmp_path) >= 10
