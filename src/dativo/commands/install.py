"""`dativo install`: plugins that live in environments of their own, each made once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from dativo.errors import DativoError
from dativo.runtime.plugins import MARKER, environment_path, how_to_install, is_installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import Plugin


def install(paths: Sequence[Path]) -> int:
    """Install what the jobs need; exit 1 when a shared plugin is missing, which is pip's business."""
    from dativo.commands.loading import load_or_refuse

    loaded = load_or_refuse(paths)
    plugins = {(p.name, p.pip_url): p for job in loaded.jobs for p in (job.source.plugin, job.target.plugin)}
    missing = 0
    for plugin in plugins.values():
        if is_installed(plugin, loaded.root):
            click.echo(f"{plugin.name}: is installed")
        elif plugin.pip_url is None:
            click.echo(f"{plugin.name}: not found on PATH; {how_to_install(plugin)}")
            missing += 1
        else:
            install_isolated(plugin, loaded.root)
            click.echo(f"{plugin.name}: installed into {environment_path(plugin)}")
    return 1 if missing else 0


def install_isolated(plugin: Plugin, root: Path) -> None:
    """Make the environment of one plugin; a second process waits and then finds it there.

    Raises:
        DativoError: pip cannot install it, or it does not bring the executable.
    """
    place = environment_path(plugin)
    assert place is not None
    assert plugin.pip_url is not None
    environment = root / place
    environment.parent.mkdir(parents=True, exist_ok=True)
    with _locked(environment.with_suffix(".lock")):
        if is_installed(plugin, root):
            return
        # Scripts in an environment carry its path, so it cannot be built elsewhere and renamed: the marker is what is atomic.
        shutil.rmtree(environment, ignore_errors=True)
        _call([sys.executable, "-m", "venv", str(environment)], plugin)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        _call([*pip, *_requirements(plugin.pip_url, root)], plugin)
        if not (environment / "bin" / plugin.executable).is_file():
            raise DativoError(
                f"{plugin.name}: {plugin.pip_url} brings no executable {plugin.executable}",
                "correct executable or pip_url in the recipe",
            )
        (environment / MARKER).write_text(f"{plugin.pip_url}\n")


def _requirements(pip_url: str, root: Path) -> list[str]:
    """`pip_url` may hold several requirements; a local one is meant from the project root, wherever we were called."""
    return [str(root / word) if word.startswith(("./", "../")) else word for word in pip_url.split()]


def _call(command: Sequence[str], plugin: Plugin) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "no reason given")
        raise DativoError(
            f"{plugin.name}: {plugin.pip_url} cannot be installed: {reason}",
            "without a network, point pip at a directory of wheels: PIP_NO_INDEX=1 PIP_FIND_LINKS=<directory> dativo install",
        )


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
