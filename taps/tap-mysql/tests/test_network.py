"""Faults between the tap and a real server."""

from __future__ import annotations

import pytest

from tap_kit.conformance import SurvivesTheNetwork


class TestNetwork(SurvivesTheNetwork):
    """MariaDB."""

    schema = ""

    @pytest.fixture(autouse=True)
    def small_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """So that a result comes in several."""
        monkeypatch.setattr("tap_mysql.connection._BUFFER_BYTES", 100_000)
