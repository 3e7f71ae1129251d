"""Run the tap inside the test process, in either lane, in a directory of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tap_csv.tap import TapCSV
from tap_kit.testing import Output, catalog_of, run_tap

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Output]:
    """`sync(config, catalog=…, state=…, lane="record" | "arrow")`; paths are relative to tmp_path."""
    monkeypatch.setenv("DATIVO_PROJECT_ROOT", str(tmp_path))
    batches = tmp_path / ".batches"
    monkeypatch.setenv("DATIVO_BATCH_DIR", str(batches))

    def run(config: dict[str, Any], catalog: Any = None, state: Any = None, lane: str = "record") -> Output:
        batches.mkdir(exist_ok=True)
        config = {"rejects": "emit", **config}
        output = run_tap(TapCSV, config, catalog=catalog, state=state, lane=lane)
        assert not list(batches.iterdir())
        return output

    return run


@pytest.fixture(params=["record", "arrow"])
def lane(request: pytest.FixtureRequest) -> str:
    """Both lanes."""
    return str(request.param)


@pytest.fixture
def catalog() -> Callable[..., dict[str, Any]]:
    """`catalog(stream, {column: type}, keys)`."""
    return catalog_of
