"""The executable: exit codes, messages, signals, time to start and memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import singer_arrow

TAP = [sys.executable, "-c", "from tap_csv.main import main; main()"]
ARROW = {"encoding": {"format": "arrow"}, "storage": {"root": ""}}


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`run(config, *arguments, **environment)` with the configuration as a file."""

    def start(config: dict[str, Any], *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return subprocess.run(
            [*TAP, "--config", str(tmp_path / "config.json"), *arguments],
            cwd=tmp_path, env={**os.environ, **more}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return start


def test_a_run_that_works_exits_zero(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    done = run({"files": [{"path": "a.csv"}]})
    assert done.returncode == 0, done.stderr
    kinds = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert (kinds[:2], kinds[-1]) == (["SCHEMA", "RECORD"], "STATE")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"files": [{"path": "gone.csv"}]}, "gone.csv: no such file"),
        ({"files": [{"path": "bad.csv"}]}, "bad.csv: record 2, line 2: has 1 fields"),
        ({"files": [{"path": "a.csv", "encoding": "klingon"}]}, "files[0]: unknown encoding 'klingon'"),
        ({"files": [{"path": "a.csv"}], "delimiter": "::"}, "delimiter '::' must be one ASCII character"),
        ({"files": [{"path": "a.csv"}], "header": 0}, "header 0 must be a line number"),
        ({"files": [{"path": "a.csv"}], "start_date": "soon"}, "start_date 'soon'"),
        ({"files": [{"path": ""}]}, "path is empty"),
        ({"files": [{"object": "a"}]}, "files"),
        ({"files": [{"path": "a.csv", "delimeter": ";"}]}, "delimeter"),
        ({}, "'files' is a required property"),
        ({"files": [{"path": "pipe"}]}, "pipe: is not a regular file"),
        ({"files": [{"path": "a.csv"}], "batch_config": {"encoding": {"format": "parquet"}}}, "parquet"),
    ],
)
def test_what_the_user_can_mend_is_said_without_a_traceback(
    run: Any, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "bad.csv").write_text("id,name\n1\n")
    os.mkfifo(tmp_path / "pipe")
    keeper = os.open(tmp_path / "pipe", os.O_RDWR)
    done = run(config)
    os.close(keeper)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_settings_that_the_tap_does_not_have_are_told_and_not_shown(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    done = run({"files": [{"path": "a.csv"}], "stream_maps": {}, "quotchar": "'"})
    assert "does not know, and ignores: quotchar, stream_maps" in done.stderr
    assert "stream_maps" not in run({"files": [{"path": "a.csv"}]}, "--about").stdout


def test_log_lines_are_json_objects_on_demand(run: Any, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,x\n")
    (tmp_path / "bad.csv").write_text("id,name\n1\n")
    good = run({"files": [{"path": "a.csv"}]}, DATIVO_LOG_FORMAT="json")
    lines = [json.loads(line) for line in good.stderr.splitlines()]
    read = next(line for line in lines if line["event_type"] == "file_read")
    assert (read["level"], read["file"], read["records"], read["stream"]) == ("info", "a.csv", 1, "a")
    assert {"time", "level", "event_type", "message"} <= set(lines[0])
    failed = run({"files": [{"path": "bad.csv"}]}, DATIVO_LOG_FORMAT="json")
    assert json.loads(failed.stderr.splitlines()[-1])["event_type"] == "tap_failed"


@pytest.mark.parametrize("option", ["--about", "--version", "--help", "--test", "--discover"])
def test_the_tap_can_be_asked_about_itself(run: Any, tmp_path: Path, option: str) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n2\n3\n")
    done = run({"files": [{"path": "a.csv"}]}, option)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    if option == "--test":
        assert done.stdout.count('"RECORD"') == 1


def test_a_signal_is_no_success(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"files": [{"path": "a.csv"}], "batch_config": ARROW})
    )  # fmt: skip
    (tmp_path / "a.csv").write_text("id\n" + "1\n" * 2_000_000)
    environment = {k: v for k, v in os.environ.items() if k != "DATIVO_BATCH_DIR"}
    with subprocess.Popen(
        [*TAP, "--config", str(tmp_path / "config.json")],
        cwd=tmp_path, env={**environment, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        assert running.stdout
        batch = next(m for m in map(json.loads, running.stdout) if m["type"] == "BATCH")
        running.send_signal(signal.SIGTERM)  # it waits for somebody to take its batches
        rest = running.stdout.read()
        assert running.wait(timeout=30) == 128 + signal.SIGTERM
    assert b'"STATE"' not in rest
    assert not Path(batch["manifest"][0].removeprefix("file://")).parent.exists()


@pytest.mark.parametrize("lane", [None, ARROW])
def test_a_target_that_is_gone_ends_the_run(run: Any, tmp_path: Path, lane: Any) -> None:
    (tmp_path / "a.csv").write_text("id\n" + "1\n" * 1_000_000)
    (tmp_path / "config.json").write_text(json.dumps({"files": [{"path": "a.csv"}], "batch_config": lane}))
    with subprocess.Popen(
        [*TAP, "--config", str(tmp_path / "config.json")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        assert running.stdout
        assert running.stderr
        running.stdout.readline()
        running.stdout.close()
        told = running.stderr.read()
        assert running.wait(timeout=30) == 1
    assert "see its own message" in told
    assert "Traceback" not in told


def test_batches_are_not_written_where_nobody_can_take_them(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    (tmp_path / "config.json").write_text(json.dumps({"files": [{"path": "a.csv"}], "batch_config": ARROW}))
    environment = {k: v for k, v in os.environ.items() if k != "DATIVO_BATCH_DIR"}
    with (tmp_path / "out.singer").open("w") as out:
        done = subprocess.run(
            [*TAP, "--config", str(tmp_path / "config.json")],
            cwd=tmp_path, env=environment, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert "DATIVO_BATCH_DIR" in done.stderr


def test_nothing_heavy_is_imported_when_no_file_has_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    code = f"""
import sys
from tap_csv.tap import TapCSV
config = {{"base_path": {str(tmp_path)!r}, "files": [{{"path": "a.csv"}}], "batch_config": {ARROW}}}
schema = {{"type": "object", "properties": {{"id": {{"type": ["integer", "null"]}}}}}}
catalog = {{"streams": [{{"tap_stream_id": "a", "stream": "a", "schema": schema, "metadata": [
    {{"breadcrumb": [], "metadata": {{"selected": True}}}}]}}]}}
status = __import__("tap_csv.files").files.FileStat.of(__import__("os").stat({str(tmp_path / "a.csv")!r}))
entry = {{"size": status.size, "modified": status.modified, "sha256": "", "records": 1}}
TapCSV(config=config, catalog=catalog, state={{"bookmarks": {{"a": {{"files": {{"a.csv": entry}}}}}}}}).sync_all()
print([name for name in ("pyarrow", "tap_csv.parse") if name in sys.modules], file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
    assert [json.loads(line)["type"] for line in done.stdout.splitlines()] == ["STATE", "SCHEMA"]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A hundred megabytes in the Arrow lane; the limit for any size is 400 MB."""
    line = "1234567,some name or other,12345.67,2024-01-02T03:04:05Z," + "x" * 60 + "\n"
    with (tmp_path / "a.csv").open("w") as file:
        file.write("id,name,amount,at,note\n")
        for _ in range(100):
            file.write(line * 8000)
    (tmp_path / "config.json").write_text(json.dumps({"files": [{"path": "a.csv"}], "batch_config": ARROW}))
    rows, peak_kb = 0, 0
    with subprocess.Popen(
        [*TAP, "--config", str(tmp_path / "config.json")],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as running:  # fmt: skip
        assert running.stdout
        for message in map(json.loads, running.stdout):
            # What wait4 tells of a process begins with the memory of the one that started it.
            status = Path(f"/proc/{running.pid}/status").read_text()
            peak_kb = max(
                peak_kb, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0
            )
            for uri in message.get("manifest", ()):
                with singer_arrow.open_batch(uri) as reader:
                    rows += reader.read_all().num_rows
                singer_arrow.remove(uri)
        running.wait()
    assert running.returncode == 0
    assert rows == 800_000
    assert 0 < peak_kb < 400 * 1024
