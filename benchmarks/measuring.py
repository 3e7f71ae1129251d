"""Runs a command and accounts for it and its descendants."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}


@dataclass(frozen=True)
class Figure:
    """One run of a command."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    """Largest single process."""
    plugins_mb: float = 0
    """Largest sum of what tap and target hold at once (proportional set size, sampled), where they are separate processes."""


def measure(
    arguments: list[str],
    cwd: Path,
    stdin: Path | None = None,
    codes: tuple[int, ...] = (0,),
    environment: dict[str, str] | None = None,
) -> Figure:
    """Run a command to its end and account for it and its descendants."""
    script = (
        "import resource, subprocess, sys, time\n"
        "source = open(sys.argv[1], 'rb') if sys.argv[1] else subprocess.DEVNULL\n"
        "t = time.perf_counter()\n"
        "code = subprocess.run(sys.argv[2:], stdin=source, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)\n"
        "w = time.perf_counter() - t; u = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        f"if code.returncode not in {codes!r}: sys.exit(code.stderr.decode()[-3000:])\n"
        "print(w, u.ru_utime + u.ru_stime, u.ru_maxrss / 1024)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(stdin or ""), *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        plugins_mb = 0.0
        while process.poll() is None:
            plugins_mb = max(plugins_mb, _plugins_mb(process.pid))
            time.sleep(0.25)
        out, err = process.communicate()
    if process.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{err}")
    return Figure(*map(float, out.split()), plugins_mb)


def _plugins_mb(root: int) -> float:
    """What taps and targets below a process hold together."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError):
            children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(int(stat.parent.name))
    found, kilobytes = [root], 0
    for pid in found:
        found += children.get(pid, [])
        with contextlib.suppress(OSError, StopIteration):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"tap-" in command or b"target-" in command:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                kilobytes += int(next(line for line in lines if line.startswith("Pss:")).split()[1])
    return kilobytes / 1024


def show(name: str, figure: Figure, note: str = "") -> None:
    """One row."""
    together = f"  tap and target {figure.plugins_mb:4.0f} MB" if figure.plugins_mb else ""
    print(
        f"  {name:44s} wall {figure.wall_s:6.2f} s  cpu {figure.cpu_s:6.2f} s  peak {figure.peak_mb:5.0f} MB{together}  {note}",
        flush=True,
    )
