"""`dativo-tap`: start a Singer tap and tell the target whether it finished.

End of file is not success: when a tap is killed, whoever runs the pipe closes the target's stdin exactly as after
success. The launcher writes DATIVO_START before the tap and DATIVO_END only after it exited 0; in between the tap
writes to the same stdout, so nothing is copied. Only the standard library, and little of it: every run pays for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

TAP_ENV = "DATIVO_TAP"
"""Names the executable of the real tap, found on PATH; arguments may follow, quoted as in a shell."""
RUN_ID_ENV = "DATIVO_RUN_ID"

EXIT_CANNOT_START = 2
_NOT_SYNC = ("--discover", "-d", "--about", "--test", "--version", "--help", "-h")
_FORWARDED = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


class LauncherError(Exception):
    """The tap cannot be started; the message says what is wrong and what to do."""


def main() -> NoReturn:
    """Entry point of `dativo-tap`."""
    arguments = sys.argv[1:]
    try:
        command = [*tap_command(os.environ), *arguments]
        if not is_sync(arguments):
            os.execv(command[0], command)  # noqa: S606 - argv is passed through unchanged, no shell
        code = run_sync(command, read_state(arguments), os.environ.get(RUN_ID_ENV) or uuid7())
    except LauncherError as e:
        sys.stderr.write(f"dativo-tap: {e}\n")
        code = EXIT_CANNOT_START
    except BrokenPipeError:
        sys.stderr.write("dativo-tap: the target closed the pipe; see its own message\n")
        code = 1
    # The tap and the two messages have left already; a flush of a closed pipe at interpreter exit would only complain.
    os._exit(code)


def tap_command(environ: Mapping[str, str]) -> list[str]:
    """Absolute path of the tap, and the arguments that stand with it in DATIVO_TAP."""
    text = environ.get(TAP_ENV, "").strip()
    if not text:
        raise LauncherError(f"{TAP_ENV} is not set: it names the tap to start, e.g. {TAP_ENV}=tap-csv")
    found = _find(text, environ)
    if found:
        return [found]
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as e:
        raise LauncherError(f"{TAP_ENV}={text!r}: {e}; quote it as for a shell") from e
    found = _find(words[0], environ)
    if not found:
        raise LauncherError(
            f"no executable {words[0]!r} ({TAP_ENV}) on PATH: install the tap, or give its absolute path"
        )
    return [found, *words[1:]]


def _find(name: str, environ: Mapping[str, str]) -> str | None:
    """Absolute path of an executable, as a shell looks it up. `shutil.which` would cost a third of our start time."""
    folders = [""] if os.sep in name else environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.abspath(os.path.join(folder, name))  # noqa: PTH100, PTH118 - pathlib is slow to import
        if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113
            return path
    return None


def is_sync(arguments: Sequence[str]) -> bool:
    """Whether a tap with these arguments extracts data (and not just describes itself)."""
    return not any(a.split("=", 1)[0] in _NOT_SYNC for a in arguments)


def read_state(arguments: Sequence[str]) -> dict[str, Any]:
    """Content of the file after `--state`; empty when there is none."""
    path = None
    for position, argument in enumerate(arguments):
        if argument in {"--state", "-s"}:
            path = next(iter(arguments[position + 1 :]), None)
        elif argument.startswith("--state="):
            path = argument.removeprefix("--state=")
    if path is None:
        return {}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123
            state = json.load(file)
    except OSError as e:
        raise LauncherError(
            f"{path}: cannot read the state: {e.strerror}; leave out --state to start from nothing"
        ) from e
    except ValueError as e:
        raise LauncherError(f"{path}: the state is not JSON: {e}; without --state it starts anew") from e
    if not isinstance(state, dict):
        raise LauncherError(f"{path}: the state must be a JSON object, not {type(state).__name__}")
    return state


def run_sync(command: list[str], state: Mapping[str, Any], run_id: str) -> int:
    """Start message, tap, end message; returns the tap's exit code, 128 + n when signal n ended it."""
    # A tap that waits for its source would never notice that whoever runs the pipe was killed.
    _die_with_parent()
    _write({"type": "DATIVO_START", "run": run_id, "state": state})
    tap = _Tap(command)
    code = tap.wait()
    # A tap of the Singer SDK answers SIGTERM with exit code 0: what it was asked to stop has not finished.
    if tap.signalled:
        return code or 128 + tap.signalled
    if code == 0:
        _write({"type": "DATIVO_END"})
    return code


class _Tap:
    """The running tap; signals sent to the launcher reach it, and it does not outlive the launcher."""

    def __init__(self, command: list[str]) -> None:
        self.signalled = 0
        """Number of the last signal that was passed on; 0 for none."""
        launcher = os.getpid()
        # A signal between fork and exec must neither be lost nor run our handler in the child.
        signal.pthread_sigmask(signal.SIG_BLOCK, _FORWARDED)
        for number in _FORWARDED:
            signal.signal(number, self._forward)
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, launcher)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self.signalled = number
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return

    def wait(self) -> int:
        """Exit code of the tap, 128 + n when signal n ended it."""
        _, status = os.waitpid(self.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _become(command: list[str], launcher: int) -> NoReturn:
    """In the child: die with the launcher, then turn into the tap."""
    try:
        for number in _FORWARDED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _FORWARDED)
        _die_with_parent()
        if os.getppid() == launcher:  # it may have gone before the kernel was asked to tell us
            os.execv(command[0], command)  # noqa: S606
    except OSError as e:
        os.write(2, f"dativo-tap: cannot start {command[0]}: {e.strerror}\n".encode())
    finally:
        os._exit(EXIT_CANNOT_START)


def _die_with_parent() -> None:
    """Ask Linux to kill this process when its parent goes; other systems have no such request."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def uuid7() -> str:
    """A UUID version 7: time-ordered, as every run id. The module `uuid` makes them only from Python 3.14 on."""
    value = (time.time_ns() // 1_000_000) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _write(message: Mapping[str, Any]) -> None:
    """One line on stdout, unbuffered: what the tap writes next goes straight to the same pipe."""
    data = memoryview(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    main()
