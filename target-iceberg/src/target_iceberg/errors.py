"""Errors of the target; children differ by what the caller should do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from target_iceberg.run_report import FailureClass


class TargetError(Exception):
    """The run cannot go on: nothing (more) is published, and running again unchanged does not help.

    The message says what happened, where, and what to do now; it never holds a secret or a traceback.
    """

    retryable = False

    def __init__(self, message: str, failure_class: FailureClass = "internal") -> None:
        super().__init__(message)
        self.failure_class: FailureClass = failure_class


class RetryableError(TargetError):
    """The same run may succeed later: network, conflict, overtaken by another run, a full disk that was emptied."""

    retryable = True


class PartialPublishError(RetryableError):
    """Some tables of the run are published, others are not; a rerun completes them."""


class InterruptedRun(BaseException):
    """A signal ended the run; nothing is published. Not an Exception, so that no recovery code catches it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"stopped by signal {signal_number}")
        self.signal_number = signal_number

    @property
    def exit_code(self) -> int:
        """128 + signal, as shells report it."""
        return 128 + self.signal_number
