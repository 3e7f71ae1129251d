"""`dativo start`: hand over to the orchestrator, which is a distribution of its own."""

from __future__ import annotations

from importlib.metadata import entry_points

from dativo.errors import DativoError

GROUP = "dativo.orchestrators"
"""Entry points that start an orchestrator: a function without arguments that returns an exit code."""


def start() -> int:
    """Start the installed orchestrator.

    Raises:
        DativoError: none is installed.
    """
    found = list(entry_points(group=GROUP))
    if not found:
        raise DativoError(
            "no orchestrator is installed",
            'pip install "dativo[dagster]"; without one, let cron or systemd call: dativo run --job-dir jobs',
        )
    code: int = found[0].load()()
    return code
