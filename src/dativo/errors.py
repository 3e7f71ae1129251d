"""What a user can act on, as exceptions; `dativo.cli.main` is the one place that turns them into exit codes."""

from __future__ import annotations


class DativoError(Exception):
    """Something the user can put right: what is wrong, and what to do now. Never shown with a traceback.

    Args:
        message: what is wrong, naming the file, setting or object.
        remedy: what to do now; a command wherever there is one.
    """

    exit_code = 2

    def __init__(self, message: str, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Both sentences, as they are printed."""
        return f"{self.message}\n  {self.remedy}" if self.remedy else self.message
