"""Where a plugin's executable is: beside this program, on PATH, or in its own environment below .dativo/plugins."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dativo.config.model.resolved import Plugin

PLUGINS = ".dativo/plugins"
MARKER = ".dativo-installed"
"""Written last: without it an environment is unfinished and is made again."""


def environment_path(plugin: Plugin) -> str | None:
    """Project-relative environment of an isolated plugin; None for a shared one."""
    if plugin.pip_url is None:
        return None
    digest = hashlib.sha256(plugin.pip_url.encode()).hexdigest()[:12]
    return f"{PLUGINS}/{plugin.name}-{digest}"


def compiled_executable(plugin: Plugin) -> str:
    """How the checked-in meltano.yml names it: bare, or project-relative."""
    environment = environment_path(plugin)
    return plugin.executable if environment is None else f"{environment}/bin/{plugin.executable}"


def executable_of(plugin: Plugin, root: Path) -> str:
    """How a run names it: bare, or absolute."""
    environment = environment_path(plugin)
    return plugin.executable if environment is None else str(root / environment / "bin" / plugin.executable)


def is_installed(plugin: Plugin, root: Path, path: str | None = None) -> bool:
    """Whether a run would find the plugin."""
    environment = environment_path(plugin)
    if environment is not None:
        return (root / environment / MARKER).is_file()
    bins = os.pathsep.join([str(Path(sys.executable).parent), path or os.environ.get("PATH", os.defpath)])
    return shutil.which(plugin.executable, path=bins) is not None


def how_to_install(plugin: Plugin) -> str:
    """The command that makes a missing plugin available."""
    if plugin.pip_url is not None:
        return "dativo install"
    if plugin.distribution is not None and _version_of(plugin.distribution) is not None:
        have = f"{plugin.distribution} {_version_of(plugin.distribution)}"
        return f"{have} is installed and has no {plugin.executable}; this version of Dativo does not load there yet"
    if plugin.distribution is not None:
        return f"pip install {plugin.distribution}"
    return f"put an executable {plugin.executable} on PATH, or give the recipe a pip_url"


def _version_of(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
