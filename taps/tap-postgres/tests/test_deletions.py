"""`detect_deletes: keys` against a real server."""

from __future__ import annotations

from tap_kit.conformance import DetectsDeletions


class TestDeletions(DetectsDeletions):
    """On PostgreSQL."""
