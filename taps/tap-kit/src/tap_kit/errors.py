"""The errors that a tap's user can act on."""

from __future__ import annotations


class TapError(Exception):
    """The run cannot go on; the message says what, where, and what now. It is shown without a traceback."""


class TransientError(TapError):
    """The source does not answer as it should, and may when it is asked again."""
