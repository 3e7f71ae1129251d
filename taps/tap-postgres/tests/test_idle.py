"""Runs that find nothing new on a real server."""

from __future__ import annotations

from tap_kit.conformance import RestsWhileNothingIsNew


class TestIdleRuns(RestsWhileNothingIsNew):
    """On PostgreSQL."""
