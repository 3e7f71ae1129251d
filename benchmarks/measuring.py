"""Runs a command and accounts for it and its descendants."""

from __future__ import annotations

import os
import subprocess
import sys
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
    done = subprocess.run(
        [sys.executable, "-c", script, str(stdin or ""), *arguments],
        cwd=cwd,
        env={**ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return Figure(*map(float, done.stdout.split()))


def show(name: str, figure: Figure, note: str = "") -> None:
    """One row."""
    print(
        f"  {name:44s} wall {figure.wall_s:6.2f} s  cpu {figure.cpu_s:6.2f} s  peak {figure.peak_mb:5.0f} MB  {note}",
        flush=True,
    )
