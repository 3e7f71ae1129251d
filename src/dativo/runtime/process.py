"""Meltano and its plugins as one process group: started early, told late, ended together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dativo.errors import DativoError
from dativo.runtime.meltano_child import PARENT_ENV

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

STOP_GRACE_S = 30.0
"""After SIGTERM: time for the target to finish a publish that has begun, and to write its report."""
ORPHAN_GRACE_S = 120.0
"""After Meltano is gone: time for the target to notice the end of its input."""
MAX_LINE_BYTES = 1 << 20

_ALLOWED = (
    "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "NO_COLOR",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS",
    "GLIBC_TUNABLES", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", "LD_LIBRARY_PATH", "MALLOC_ARENA_MAX", "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)  # fmt: skip
_ALLOWED_IN_EITHER_CASE = frozenset({"http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy"})
_ALLOWED_PREFIXES = ("DATIVO_", "LC_")
SAMPLE_ENV = "DATIVO_SAMPLE_RECORDS"
"""How many records of each stream a tap shall send; of a run it would make half a load that looks whole."""


def base_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What every child may see of this environment: how to find programs, people's language and the way out.

    Anything else, first of all a TAP_…_PASSWORD that somebody exported for one tenant, stays here.
    """
    env = {
        name: value
        for name, value in environ.items()
        if name in _ALLOWED or name.lower() in _ALLOWED_IN_EITHER_CASE or name.startswith(_ALLOWED_PREFIXES)
    }
    env.pop(SAMPLE_ENV, None)
    bin_directory = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([bin_directory, environ.get("PATH", os.defpath)])
    return env


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, of which there may be nobody left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


class Meltano:
    """One Meltano process in a group of its own, importing while nobody has told it yet what to do."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        env = {**base_environment(environ), PARENT_ENV: str(os.getpid()), "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dativo.runtime.meltano_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=env,
            start_new_session=True,
        )
        self._kill_timer: threading.Timer | None = None

    @property
    def group(self) -> int:
        """Id of the process group of Meltano and its plugins."""
        return self._process.pid

    def start(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path) -> None:
        """Tell the child what to run."""
        assert self._process.stdin is not None
        instruction = json.dumps({"argv": list(argv), "env": dict(env), "cwd": str(cwd)})
        try:
            self._process.stdin.write(instruction.encode() + b"\n")
            self._process.stdin.close()
        except BrokenPipeError as e:
            output = self._process.stdout.read().decode(errors="replace") if self._process.stdout else ""
            last = output.strip().splitlines()[-1:] or ["it gave no reason"]
            raise DativoError(f"Meltano does not start: {last[0]}", "look at `dativo doctor`") from e

    def lines(self) -> Iterator[str]:
        """What Meltano says until it is gone, line by line; a line beyond 1 MB is cut into several."""
        assert self._process.stdout is not None
        while line := self._process.stdout.readline(MAX_LINE_BYTES):
            yield line.decode(errors="replace").rstrip("\r\n")

    def wait(self) -> int:
        """Wait until Meltano and everything that it started is gone; returns Meltano's exit code (128 + signal)."""
        code = self._process.wait()
        if code < 0:
            self.stop()  # it was killed: a tap that waits for its source would not notice
        if not self._reap_group(time.monotonic() + ORPHAN_GRACE_S):
            self.kill()
            self._reap_group(time.monotonic() + ORPHAN_GRACE_S)
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask the whole group to end; whatever is still there after the grace is killed."""
        self._signal(signal.SIGTERM)
        if self._kill_timer is None:
            self._kill_timer = threading.Timer(STOP_GRACE_S, self.kill)
            self._kill_timer.daemon = True
            self._kill_timer.start()

    def kill(self) -> None:
        """End the whole group now."""
        self._signal(signal.SIGKILL)

    def discard(self) -> None:
        """End a child that was never told anything."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def close(self) -> None:
        """Release the pipe after `wait`."""
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _signal(self, number: int) -> None:
        signal_group(self.group, number)

    def _reap_group(self, deadline: float) -> bool:
        """Wait for orphans of the group, which the kernel hands to us (see `adopt_orphans`); False when time is up."""
        pause_s = 0.001
        while True:
            try:
                os.killpg(self.group, 0)
                os.waitpid(-self.group, os.WNOHANG)
            except (ProcessLookupError, PermissionError):
                return True
            except ChildProcessError:
                if not sys.platform.startswith("linux"):
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(pause_s)
            pause_s = min(pause_s * 2, 0.1)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies, so that a run never ends before its target (Linux)."""
    if sys.platform.startswith("linux"):
        import ctypes

        set_child_subreaper = 36
        ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
