"""The Singer SDK's own tests of a tap, against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SUITE = """
from singer_sdk.testing import get_tap_test_class
from tap_postgres.tap import TapPostgres
TestTap = get_tap_test_class(TapPostgres, config={config!r}, parse_env_config=False)
"""


def test_the_sdk_suite_holds(database: Any, tmp_path: Path) -> None:
    """In a program of its own, since the suite's configuration must be known when its module is read."""
    database.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY, status varchar(9), total decimal(9,2), day date, changed timestamp NULL)",
        "INSERT INTO orders VALUES (1, 'new', 1.50, '2024-01-01', '2024-01-01 00:00:00'), (2, NULL, NULL, NULL, NULL)",
    )
    config = database.config({"name": "orders", "cursor_field": "changed"})
    config |= {"password_env": None, "password": database.server.password}
    (tmp_path / "test_suite.py").write_text(SUITE.format(config=config))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 10
