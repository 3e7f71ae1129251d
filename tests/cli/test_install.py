"""`dativo install` gives isolated plugins an environment of their own, once and completely."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from dativo.commands.install import install_isolated
from dativo.config.model.resolved import Plugin
from dativo.errors import DativoError
from dativo.runtime.plugins import MARKER, compiled_executable, environment_path, executable_of, is_installed

if TYPE_CHECKING:
    from pathlib import Path


def wheel(directory: Path, name: str = "tap_tiny") -> Path:
    """A distribution with one console script, as pip takes it without building anything."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(file, "w") as z:
        z.writestr(f"{name}.py", "def main():\n    print('tiny')\n")
        z.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        z.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        z.writestr(f"{info}/entry_points.txt", f"[console_scripts]\ntap-tiny = {name}:main\n")
        z.writestr(f"{info}/RECORD", "")
    return file


@pytest.fixture
def plugin(tmp_path: Path) -> Plugin:
    wheel(tmp_path / "project/wheels")
    pip_url = "--no-index ./wheels/tap_tiny-1.0-py3-none-any.whl"
    return Plugin(name="tap-tiny", executable="tap-tiny", pip_url=pip_url)


def test_it_is_installed_once_and_found_afterwards(plugin: Plugin, tmp_path: Path) -> None:
    import subprocess

    root = tmp_path / "project"
    assert not is_installed(plugin, root)
    install_isolated(plugin, root)
    assert is_installed(plugin, root)
    done = subprocess.run([executable_of(plugin, root)], capture_output=True, text=True, check=True)
    assert done.stdout == "tiny\n"
    marker = root / str(environment_path(plugin)) / MARKER
    before = marker.stat().st_mtime_ns
    install_isolated(plugin, root)
    assert marker.stat().st_mtime_ns == before


def test_an_unfinished_environment_is_made_again(plugin: Plugin, tmp_path: Path) -> None:
    root = tmp_path / "project"
    broken = root / str(environment_path(plugin)) / "bin"
    broken.mkdir(parents=True)
    (broken / "tap-tiny").write_text("half")
    assert not is_installed(plugin, root)
    install_isolated(plugin, root)
    assert (broken / "tap-tiny").read_text() != "half"


def test_a_missing_distribution_says_how_to_do_without_a_network(plugin: Plugin, tmp_path: Path) -> None:
    absent = replace(plugin, pip_url="--no-index tap-that-is-nowhere")
    with pytest.raises(DativoError, match=r"(?s)cannot be installed: ERROR.*PIP_FIND_LINKS"):
        install_isolated(absent, tmp_path / "project")
    assert not is_installed(absent, tmp_path / "project")


def test_a_distribution_without_the_executable_is_refused(plugin: Plugin, tmp_path: Path) -> None:
    other = replace(plugin, executable="tap-other")
    with pytest.raises(DativoError, match="brings no executable tap-other"):
        install_isolated(other, tmp_path / "project")


def test_another_pip_url_is_another_environment(plugin: Plugin) -> None:
    assert environment_path(plugin) != environment_path(replace(plugin, pip_url="tap-tiny==2"))
    assert environment_path(replace(plugin, pip_url=None)) is None
    assert compiled_executable(replace(plugin, pip_url=None)) == "tap-tiny"
    assert compiled_executable(plugin).startswith(".dativo/plugins/tap-tiny-")


def test_shared_plugins_are_only_looked_for(dativo: Any, demo: Path) -> None:
    result = dativo("install")
    assert result.code == 0
    assert "tap-csv: is installed" in result.out
