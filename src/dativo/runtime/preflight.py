"""The lake is asked once, by the parent, while Meltano boots: may this job run, and where does it stand?

The answer goes to the state backend through a FIFO, so that Meltano neither loads PyIceberg nor opens the catalog again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from typing import TYPE_CHECKING, Any

from dativo.runtime.lake_access import plan_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from target_iceberg.errors import TargetError
    from target_iceberg.load_plan import LoadPlan

FIFO = "state.fifo"
STATE_ORIGIN_ENV = "DATIVO_STATE_ORIGIN"
STATE_ORIGIN = "state_origin"
"""File beside the FIFO: origin is `lake` when the state that the tap is given is published, `checkpoint` when it is only staged; new
are the streams of whose tables the lake has no rows."""


class PreflightCheck:
    """One check, going on in a thread of its own."""

    def __init__(
        self,
        plan: LoadPlan,
        directory: Path,
        *,
        root: Path,
        variables: Mapping[str, str],
        on_refusal: Callable[[], None],
    ) -> None:
        self.fifo = directory / FIFO
        self.refusal: TargetError | None = None
        self.changes: dict[str, list[str]] = {}
        self.warnings: list[str] = []
        self._crash: BaseException | None = None
        self._on_refusal = on_refusal
        os.mkfifo(self.fifo, mode=0o600)
        arguments = (plan, root, variables)
        self._thread = threading.Thread(target=self._run, args=arguments, name="preflight", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Wait for the end; nobody needs to have read the answer.

        Raises:
            BaseException: whatever went wrong that the lake does not name.
        """
        while self._thread.is_alive():
            # Opening the reader's end lets a writer go that waits for a Meltano which is gone.
            descriptor = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
            self._thread.join(timeout=0.05)
            os.close(descriptor)
        if self._crash is not None:
            raise self._crash

    def _run(self, plan: LoadPlan, root: Path, variables: Mapping[str, str]) -> None:
        try:
            answer = self._ask(plan, root, variables)
        except BaseException as e:  # noqa: BLE001  carried to the thread that waits, which raises it
            self._crash = e
            answer = None
        if answer is None:
            self._on_refusal()
            return
        with contextlib.suppress(BrokenPipeError), self.fifo.open("wb") as pipe:
            pipe.write(json.dumps(answer).encode())

    def _ask(self, plan: LoadPlan, root: Path, variables: Mapping[str, str]) -> dict[str, Any] | None:
        from target_iceberg.errors import TargetError
        from target_iceberg.glance import LAKE_STATE, is_new_at_a_glance, state_at_a_glance

        here = plan_here(plan, root=root, variables=variables)
        origin = self.fifo.with_name(STATE_ORIGIN)
        if (state := state_at_a_glance(here)) is not None:
            origin.write_text(json.dumps({"origin": "lake", "new": []}))
            return {"state": state}
        if is_new_at_a_glance(here):
            origin.write_text(json.dumps({"origin": "lake", "new": [s.stream for s in here.streams]}))
            self.fifo.with_name(LAKE_STATE).write_text("{}")
            return {"state": {}}
        from target_iceberg.lake import preflight

        try:
            found = preflight(here)
        except TargetError as e:
            self.refusal = e
            return None
        self.changes, self.warnings = found.changes, found.warnings
        said = {"origin": "checkpoint" if found.is_checkpoint else "lake", "new": found.new}
        origin.write_text(json.dumps(said))
        if not found.is_checkpoint:
            self.fifo.with_name(LAKE_STATE).write_text(json.dumps(found.state))
        return {"state": found.state}
