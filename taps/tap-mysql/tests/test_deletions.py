"""`detect_deletes: keys` against a real server."""

from __future__ import annotations

from typing import Any

import pytest

from tap_kit.conformance import DetectsDeletions


class TestDeletions(DetectsDeletions):
    """On MariaDB."""

    schema = ""
    analyze = "ANALYZE TABLE t"

    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a load has bookmarks."""
        monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 10_000)

    @pytest.mark.parametrize("sign", ["unsigned", ""])
    def test_keys_at_the_ends_of_their_type(self, database: Any, run: Any, sign: str) -> None:
        low, high = (0, 2**63) if sign else (-(2**63), 2**63 - 1)
        database.run(f"CREATE TABLE t (id bigint {sign} PRIMARY KEY, name varchar(20), changed timestamp)")
        self.insert(database, (low, 5, high - 1 if sign else high))
        first = run()
        database.run("DELETE FROM t WHERE id = 5")
        ((ranges, keys),) = run(first.state).listed
        assert any(a <= 5 <= b for a, b in ranges)
        assert 5 not in {k["id"] for k in keys}
