"""The report of an unexpected error: everything that a bug report needs, in a file instead of on the screen."""

from __future__ import annotations

import datetime as dt
import platform
import sys
import tempfile
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_DISTRIBUTIONS = ("dativo", "dativo-target-iceberg", "meltano", "pyiceberg", "pyarrow", "singer-sdk")


def write_crash_report(error: BaseException) -> Path:
    """Write versions, command line and traceback; returns the file.

    It lies below .dativo/ of the working directory, or in the temporary directory where that cannot be written.
    """
    now = dt.datetime.now(dt.timezone.utc)
    text = "\n".join(
        [
            f"time: {now.isoformat()}",
            f"command: {' '.join(sys.argv)}",
            f"python: {sys.version.split()[0]} on {platform.platform()}",
            *(f"{name}: {_version(name)}" for name in _DISTRIBUTIONS),
            "",
            "".join(traceback.format_exception(type(error), error, error.__traceback__)),
        ]
    )
    name = f"crash-{now:%Y%m%dT%H%M%S%f}.log"
    for directory in (Path.cwd() / ".dativo", Path(tempfile.gettempdir())):
        try:
            directory.mkdir(exist_ok=True)
            file = directory / name
            file.touch(mode=0o600)
            file.write_text(text)
        except OSError:
            continue
        return file
    return Path(name)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
