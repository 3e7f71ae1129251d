"""Meltano's state backend that reads bookmarks from the lake, where they lie beside the data they describe.

uri: dativo:///<path>, a load plan or an index of load plans ({state id: path}), relative to the project root. The lake is
always right: `set` only refreshes the mirror for people and never raises, since a raising `set` would still end in exit 0.
`get` raises when the lake cannot be read: Meltano then does not start the tap.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlparse

from meltano.core.error import MeltanoError
from meltano.core.state_store.base import MeltanoState, StateStoreManager

from target_iceberg import load_plan
from target_iceberg.glance import STATE_FILE_ENV
from target_iceberg.singer import mirror

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

logger = logging.getLogger(__name__)

FULL_REFRESH_ENV = "DATIVO_FULL_REFRESH"


class StateUnavailableError(MeltanoError):  # type: ignore[misc]  # Meltano ships no types
    """The lake cannot say where the job stands; Meltano shows the reason without a traceback."""


class LakeStateStoreManager(StateStoreManager):  # type: ignore[misc]  # Meltano ships no types
    """State store whose truth is in Iceberg tables."""

    label = "Dativo lake"

    def __init__(self, uri: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._path = (
            unquote(urlparse(uri).path).lstrip("/")
            if not uri.startswith("dativo:////")
            else unquote(urlparse(uri).path)[1:]
        )

    def _plan_path(self, state_id: str) -> Path | None:
        """Where the plan of a state id lies; None: a pipeline of plain plugins, without a plan."""
        file = load_plan.project_root() / self._path
        try:
            content = json.loads(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as e:
            raise StateUnavailableError(
                f"{file}: cannot read the load plans: {e}; write them again: dativo compile jobs/"
            ) from e
        if "streams" in content:
            return file if content.get("state_id") == state_id else None
        named = content.get(state_id)
        return None if named is None else load_plan.project_root() / named

    def get(self, state_id: str) -> MeltanoState | None:
        """State of a job, from the lake."""
        if os.environ.get(FULL_REFRESH_ENV) == "1":
            return None
        if handed := os.environ.get(STATE_FILE_ENV):
            return _as_meltano(state_id, _handed_state(Path(handed)))
        path = self._plan_path(state_id)
        if path is None:
            return _as_meltano(state_id, mirror.read_plain(state_id))
        from target_iceberg.errors import TargetError
        from target_iceberg.lake import preflight

        try:
            return _as_meltano(state_id, preflight(load_plan.read(path)).state)
        except (TargetError, load_plan.LoadPlanError) as e:
            raise StateUnavailableError(str(e)) from e

    def set(self, state: MeltanoState) -> None:
        """Refresh the mirror; what the target published is in the lake already."""
        try:
            path = self._plan_path(state.state_id)
            if path is None:
                mirror.write_plain(
                    state.state_id, (state.completed_state or state.partial_state or {}).get("singer_state", {})
                )
        except (OSError, StateUnavailableError) as e:
            logger.warning("the mirror of the state was not written: %s", e)

    def delete(self, state_id: str) -> None:
        """Reset: the job reads all again."""
        path = self._plan_path(state_id)
        if path is None:
            mirror.delete_plain(state_id)
            return
        from target_iceberg.errors import TargetError
        from target_iceberg.lake import reset

        try:
            reset(load_plan.read(path))
        except (TargetError, load_plan.LoadPlanError) as e:
            raise StateUnavailableError(str(e)) from e

    def get_state_ids(self, pattern: str | None = None) -> Iterable[str]:
        """State ids of all compiled jobs and of plain pipelines that ran.

        A job whose lake cannot be read is named on the log and left out: Meltano's listing would stop at it.
        """
        from fnmatch import fnmatch

        file = load_plan.project_root() / self._path
        ids = [i for i in json.loads(file.read_bytes()) if ":" in i] if file.exists() else []
        wanted = [i for i in [*ids, *mirror.plain_ids()] if pattern is None or fnmatch(i, pattern)]
        return [i for i in wanted if self._is_readable(i)]

    def _is_readable(self, state_id: str) -> bool:
        try:
            self.get(state_id)
        except StateUnavailableError as e:
            logger.warning("%s left out: %s", state_id, e.reason)
            return False
        return True

    @contextmanager
    def acquire_lock(self, state_id: str, *, retry_seconds: float) -> Generator[None]:  # noqa: ARG002  Meltano's signature
        """No lock: compare-and-set on the bookmark decides between concurrent runs."""
        yield


def _as_meltano(state_id: str, state: dict[str, Any] | None) -> MeltanoState | None:
    return MeltanoState(state_id=state_id, partial_state={}, completed_state={"singer_state": state}) if state else None


def _handed_state(path: Path) -> dict[str, Any]:
    handed = json.loads(path.read_bytes())
    if error := handed.get("error"):
        raise StateUnavailableError(error)
    state: dict[str, Any] = handed["state"]
    return state
