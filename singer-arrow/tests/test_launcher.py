"""The launcher says truthfully whether a tap ran to its end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

LAUNCHER = [sys.executable, "-m", "singer_arrow.launcher"]


@pytest.fixture
def tap(tmp_path: Path) -> Any:
    """A tap made of a few lines of Python; returns its executable."""

    def write(body: str, name: str = "tap-x") -> Path:
        path = tmp_path / "bin with space" / name
        path.parent.mkdir(exist_ok=True)
        # A shebang cannot hold a path with spaces: a shell and Python read these lines alike, as pip writes them.
        start = f"#!/bin/sh\n'''exec' \"{sys.executable}\" \"$0\" \"$@\"\n' '''\n"
        path.write_text(f"{start}import os, signal, sys, time\n{body}\n")
        path.chmod(0o755)
        return path

    return write


def environment(tap: str | Path, **more: str) -> dict[str, str]:
    return {**os.environ, "DATIVO_TAP": str(tap), **more}


def launch(tap: str | Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LAUNCHER, *arguments], env=environment(tap, **more), capture_output=True, text=True, timeout=30, check=False
    )


def messages(stdout: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stdout.splitlines()]


def test_a_tap_that_exits_zero_is_framed_by_start_and_end(tap: Any) -> None:
    done = launch(tap('print(\'{"type":"STATE","value":{}}\')'), "--config", "c.json", DATIVO_RUN_ID="run-1")
    assert [m["type"] for m in messages(done.stdout)] == ["DATIVO_START", "STATE", "DATIVO_END"]
    assert messages(done.stdout)[0] == {"type": "DATIVO_START", "run": "run-1", "state": {}}
    assert done.returncode == 0


def test_a_run_id_of_version_7_is_made_when_none_is_given(tap: Any) -> None:
    made = [messages(launch(tap("pass")).stdout)[0]["run"] for _ in range(2)]
    assert all(m[14] == "7" and m[19] in "89ab" and len(m) == 36 for m in made)
    assert made == sorted(made)


@pytest.mark.parametrize("form", [["--state", "{}"], ["--state={}"], ["-s", "{}"]])
def test_the_start_message_carries_the_state_the_tap_got(tap: Any, tmp_path: Path, form: list[str]) -> None:
    file = tmp_path / "state.json"
    file.write_text('{\n "bookmarks": {"orders": {"n": 1}}\n}\n')
    done = launch(tap("print('#' + '|'.join(sys.argv[1:]), file=sys.stderr)"), *[f.format(file) for f in form])
    assert messages(done.stdout)[0]["state"] == {"bookmarks": {"orders": {"n": 1}}}
    assert str(file) in done.stderr


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_a_state_that_cannot_be_read_starts_no_tap(tap: Any, tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "state.json"
    if content is not None:
        file.write_text(content)
    done = launch(tap("print('started')"), "--state", str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert str(file) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_failing_tap_gets_no_end_and_its_code_is_passed_on(tap: Any) -> None:
    done = launch(tap("sys.exit(3)"))
    assert [m["type"] for m in messages(done.stdout)] == ["DATIVO_START"]
    assert done.returncode == 3


def test_a_killed_tap_gets_no_end_and_its_signal_is_told(tap: Any) -> None:
    done = launch(tap("os.kill(os.getpid(), signal.SIGKILL)"))
    assert [m["type"] for m in messages(done.stdout)] == ["DATIVO_START"]
    assert done.returncode == 128 + signal.SIGKILL


@pytest.mark.parametrize("option", ["--discover", "--about", "--about=json", "--test", "--version", "--help"])
def test_what_is_not_a_sync_is_left_to_the_tap_alone(tap: Any, option: str) -> None:
    done = launch(tap("print(sys.argv[1], os.getppid()); sys.exit(4)"), option)
    assert done.stdout.split() == [option, str(os.getpid())]
    assert done.returncode == 4


def test_arguments_may_stand_with_the_executable_and_are_split_as_in_a_shell(tap: Any) -> None:
    path = tap("print(len(sys.argv), sys.argv[1], sys.argv[2], sys.argv[3], file=sys.stderr)")
    done = launch(f"'{path}' -m 'two words'", "--config")
    assert done.stderr.strip() == "4 -m two words --config"


def test_a_path_with_spaces_needs_no_quotes(tap: Any) -> None:
    assert launch(tap("pass")).returncode == 0


def test_the_tap_is_found_on_the_path(tap: Any) -> None:
    path = tap("pass", "tap-found")
    assert launch("tap-found", PATH=f"/nowhere{os.pathsep}{path.parent}").returncode == 0


@pytest.mark.parametrize("value", ["", "tap-that-is-not-there", "/nowhere/tap", "'unbalanced"])
def test_a_missing_tap_is_a_message_and_exit_code_2(value: str) -> None:
    done = launch(value)
    assert (done.returncode, done.stdout) == (2, "")
    assert "DATIVO_TAP" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_script_without_interpreter_is_a_message_and_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "tap-broken"
    path.write_text("#!/nowhere/python\n")
    path.chmod(0o755)
    done = launch(path)
    assert done.returncode == 2
    assert "cannot start" in done.stderr
    assert [m["type"] for m in messages(done.stdout)] == ["DATIVO_START"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_the_tap_and_a_tap_that_then_exits_zero_gets_no_end(tap: Any, number: signal.Signals) -> None:
    body = """
def stop(*_):
    print('{"type":"STATE"}', flush=True)
    sys.exit(0)
for s in (signal.SIGTERM, signal.SIGINT):
    signal.signal(s, stop)
print('{"type":"READY"}', flush=True)
while True:
    signal.pause()"""
    with subprocess.Popen(LAUNCHER, env=environment(tap(body)), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        lines = [running.stdout.readline(), running.stdout.readline()]
        running.send_signal(number)
        rest = running.stdout.read()
        code = running.wait(timeout=30)
    assert [m["type"] for m in messages("".join(lines) + rest)] == ["DATIVO_START", "READY", "STATE"]
    assert code == 128 + number


@pytest.mark.skipif(sys.platform != "linux", reason="other systems cannot tie a child to its parent")
def test_the_tap_dies_with_a_killed_launcher(tap: Any) -> None:
    body = "print(os.getpid(), flush=True)\nwhile True:\n    signal.pause()"
    with subprocess.Popen(LAUNCHER, env=environment(tap(body)), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        running.stdout.readline()
        pid = int(running.stdout.readline())
        running.kill()
        running.stdout.read()  # ends when the last holder of the pipe, the tap, is gone
    deadline = time.monotonic() + 20
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_target_that_is_gone_is_told_without_a_traceback(tap: Any) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        LAUNCHER, env=environment(tap("pass")), stdout=write, stderr=subprocess.PIPE, text=True, timeout=30, check=False
    )
    os.close(write)
    assert done.returncode == 1
    assert "closed the pipe" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_launcher_imports_nothing_heavy() -> None:
    heavy = ("pyarrow", "subprocess", "pathlib", "ctypes")
    code = f"import sys, singer_arrow.launcher; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "src")},
    )
    assert done.stdout.strip() == "[]", done.stderr
