"""The Meltano project of one run: the same rendering as the root one, for one job, in the run's private directory."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dativo.lower import meltano_yml, names
from dativo.lower.emit import write_atomic
from dativo.lower.meltano_yml import BasePlugin, Places
from dativo.runtime.plugins import executable_of
from target_iceberg import load_plan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob
    from target_iceberg.load_plan import LoadPlan

PLAN = "load_plan.json"
SINGER_CATALOG = "singer_catalog.json"
BATCHES = "batches"


def write(
    directory: Path,
    job: ResolvedJob,
    plan: LoadPlan,
    singer_catalog: Mapping[str, Any],
    *,
    root: Path,
    variables: Mapping[str, str],
) -> list[str]:
    """Write the project; returns the arguments for Meltano.

    Texts of settings are expanded here, `${NAME:-default}` included; secrets stay `${NAME}` and are expanded by Meltano
    from the environment, so that they never lie in meltano.yml.
    """
    places = Places(
        state_backend=f"dativo:///{directory / PLAN}",
        load_plan=lambda _: str(directory / PLAN),
        singer_catalog=lambda _: SINGER_CATALOG,
        executable=lambda plugin: executable_of(plugin, root),
        text=lambda text: meltano_yml.escape(load_plan.expand(text, variables), keep_braces=False),
    )
    project = meltano_yml.project(
        [job],
        taps=[BasePlugin(plugin=job.source.plugin)],
        targets=[BasePlugin(plugin=job.target.plugin)],
        places=places,
    )
    (directory / BATCHES).mkdir(mode=0o700)
    for name, content in (
        ("meltano.yml", meltano_yml.render(project)),
        (PLAN, load_plan.dump(plan)),
        (SINGER_CATALOG, json.dumps(singer_catalog).encode()),
    ):
        write_atomic(directory / name, content, mode=0o600)
    _start_system_database(directory, root)
    return ["run", next(iter(names.meltano_jobs([job]).values()))]


def _template(root: Path) -> Path:
    return root / ".dativo" / "cache" / f"meltano-{version('meltano')}.db"


def _system_database(directory: Path) -> Path:
    return directory / ".meltano" / "meltano.db"


def _start_system_database(directory: Path, root: Path) -> None:
    """Begin with a migrated, empty database where an earlier run left one: migrating takes 0.3 s."""
    template = _template(root)
    if template.is_file():
        _system_database(directory).parent.mkdir(mode=0o700, exist_ok=True)
        shutil.copyfile(template, _system_database(directory))


def keep_system_database(directory: Path, root: Path) -> None:
    """Keep the migrated database for the next run, without what this run wrote into it."""
    template, database = _template(root), _system_database(directory)
    if template.exists() or not database.is_file():
        return
    with contextlib.suppress(sqlite3.Error, OSError):  # a saving, never a reason to fail
        with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
            for table in ("runs", "plugin_settings", "state"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608  the three names above
            connection.execute("VACUUM")
        write_atomic(template, database.read_bytes(), mode=0o600)
