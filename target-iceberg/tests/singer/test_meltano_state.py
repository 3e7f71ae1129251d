"""Protocol, rule 8: Meltano's state is what the lake says; a lake that cannot be read keeps the tap from starting."""

from __future__ import annotations

import json
import os
import threading
from typing import Any

import pytest
from meltano.core.state_store.base import MeltanoState

from target_iceberg import load_plan
from target_iceberg.singer.meltano_state import LakeStateStoreManager, StateUnavailableError

STATE = {"cursor": 5}


def backend(uri: str = "dativo:///plan.json") -> LakeStateStoreManager:
    return LakeStateStoreManager(uri=uri)


def test_a_missing_table_is_no_state(target: Any) -> None:
    target.command()
    assert backend().get("dev:a-to-b") is None


def test_the_state_is_the_bookmark_in_the_table(target: Any) -> None:
    target.run([target.order(1)], STATE)
    state = backend().get("dev:a-to-b")
    assert state is not None
    assert state.completed_state == {"singer_state": {"bookmarks": {"orders": STATE}}}


def test_an_index_maps_state_ids_to_plans(target: Any) -> None:
    target.run([target.order(1)], STATE)
    (target.root / "index.json").write_text(json.dumps({"dev:a-to-b": "plan.json"}))
    state = backend("dativo:///index.json").get("dev:a-to-b")
    assert state is not None
    assert "dev:a-to-b" in list(backend("dativo:///index.json").get_state_ids())


def test_absolute_plan_paths_work(target: Any) -> None:
    target.run([target.order(1)], STATE)
    assert backend(f"dativo:///{target.root}/plan.json").get("dev:a-to-b") is not None


def test_a_lake_that_cannot_be_read_raises(target: Any) -> None:
    target.command()
    (target.root / "lake").mkdir()
    (target.root / "lake/acme").write_text("not a directory")
    with pytest.raises(StateUnavailableError, match="lake/acme"):
        backend().get("dev:a-to-b")


def test_a_table_that_differs_from_its_contract_raises_before_extraction(target: Any) -> None:
    target.run([target.order(1)], STATE)
    stream = target.stream_plan()
    target.plan = target.job_plan(
        target.stream_plan(columns=(*stream.columns, load_plan.Column(name="new", type="string")))
    )
    target.command()
    with pytest.raises(StateUnavailableError, match=r"\+ new string"):
        backend().get("dev:a-to-b")


def test_setting_state_never_moves_the_lake_and_never_raises(target: Any) -> None:
    target.run([target.order(1)], STATE)
    backend().set(MeltanoState("dev:a-to-b", {}, {"singer_state": {"bookmarks": {"orders": {"cursor": 99}}}}))
    assert target.state() == {"bookmarks": {"orders": STATE}}
    (target.root / "state").chmod(0o500)
    try:
        backend().set(MeltanoState("dev:tap-x-to-target-y", {}, {"singer_state": {"a": 1}}))
    finally:
        (target.root / "state").chmod(0o700)


def test_deleting_state_resets_the_bookmark(target: Any) -> None:
    target.run([target.order(1)], STATE)
    backend().delete("dev:a-to-b")
    assert backend().get("dev:a-to-b") is None


def test_pipelines_without_a_plan_keep_their_state_in_files(target: Any) -> None:
    name = "dev:tap-csv-to-target-iceberg"
    assert backend().get(name) is None
    backend().set(MeltanoState(name, {}, {"singer_state": {"bookmarks": {"x": 1}}}))
    state = backend().get(name)
    assert state is not None
    assert state.completed_state == {"singer_state": {"bookmarks": {"x": 1}}}
    assert list(backend().get_state_ids("dev:tap-*")) == [name]
    backend().delete(name)
    assert backend().get(name) is None


@pytest.mark.parametrize("answer", [{"state": {"bookmarks": {"orders": STATE}}}, {"error": "the lake burns"}])
def test_a_state_that_dativo_run_has_read_already_is_taken_from_a_pipe(
    target: Any, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    pipe = target.root / "state.fifo"
    os.mkfifo(pipe)
    monkeypatch.setenv("DATIVO_STATE_FILE", str(pipe))
    writer = threading.Thread(target=lambda: pipe.write_text(json.dumps(answer)))
    writer.start()
    if "error" in answer:
        with pytest.raises(StateUnavailableError, match="the lake burns"):
            backend().get("any")
    else:
        state = backend().get("any")
        assert state is not None
        assert state.completed_state == {"singer_state": answer["state"]}
    writer.join()


def test_a_full_refresh_starts_without_state(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    target.run([target.order(1)], STATE)
    monkeypatch.setenv("DATIVO_FULL_REFRESH", "1")
    assert backend().get("dev:a-to-b") is None
