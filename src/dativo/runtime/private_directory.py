"""The private directories of one run: its Meltano project and its Arrow batches, and what spills to disk, readable by this user alone.

Meltano writes plugin settings, secrets included, into its project with the usual umask and leaves them there when it is
killed. So each run gets a 0700 directory in memory where there is some; it goes with the run, and the next run removes
what killed ones left behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from dativo.errors import DativoError
from dativo.runtime.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  the directories made in it are 0700 and have random names
MIN_FREE_BYTES = 512 << 20
"""A container's usual 64 MB of shared memory would be full after a few batches."""
SPILL = "tmp"
"""What plugins have no memory for; on the disk, and so not forgotten there when they are killed."""
_OWNER = "owner"
_GRACE_S = 60
"""A directory without an owner file this young is being made right now."""


@contextlib.contextmanager
def private_directory(run_id: str, environ: Mapping[str, str]) -> Iterator[Path]:
    """A directory for one run, gone at the end; first the directories of dead runs are removed."""
    bases = _bases(environ)
    for base in bases:
        remove_dead(base)
    with _made(bases[0] / f"{_prefix()}{run_id}") as directory:
        if directory.parent == bases[-1]:
            (directory / SPILL).mkdir()
            yield directory
            return
        with _made(bases[-1] / f"{_prefix()}{run_id}") as on_disk:
            (directory / SPILL).symlink_to(on_disk)
            yield directory


@contextlib.contextmanager
def _made(directory: Path) -> Iterator[Path]:
    try:
        directory.mkdir(mode=0o700)
        owner = os.open(directory / _OWNER, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        raise DativoError(
            f"{directory}: the run's private directory cannot be made: {e.strerror}",
            "free space there, or name another place: TMPDIR=<directory> dativo run ...",
        ) from e
    try_lock(owner)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(owner)


def remove_dead(base: Path) -> list[Path]:
    """Remove this user's directories whose run is gone; returns them."""
    removed = dead(base)
    for directory in removed:
        shutil.rmtree(directory, ignore_errors=True)
    return removed


def dead(base: Path) -> list[Path]:
    """This user's directories whose run is gone."""
    return [directory for directory in base.glob(f"{_prefix()}*") if _is_dead(directory)]


def bases(environ: Mapping[str, str]) -> list[Path]:
    """Every place where private directories may lie."""
    return list(dict.fromkeys([SHARED_MEMORY, *_bases(environ)]))


def _bases(environ: Mapping[str, str]) -> list[Path]:
    """Where to make the directory first, then where else to look for leftovers."""
    disk = _disk(environ)
    return [SHARED_MEMORY, disk] if _has_room(SHARED_MEMORY) else [disk]


def _disk(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("TMPDIR") or tempfile.gettempdir())


def _has_room(base: Path) -> bool:
    try:
        return os.access(base, os.W_OK | os.X_OK) and shutil.disk_usage(base).free >= MIN_FREE_BYTES
    except OSError:
        return False


def _prefix() -> str:
    return f"dativo-{os.getuid()}-"


def _is_dead(directory: Path) -> bool:
    try:
        status = directory.lstat()
        if status.st_uid != os.getuid() or directory.is_symlink():
            return False
        descriptor = os.open(directory / _OWNER, os.O_RDWR)
    except FileNotFoundError:
        return directory.is_dir() and time.time() - status.st_mtime > _GRACE_S
    except OSError:
        return False
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)
