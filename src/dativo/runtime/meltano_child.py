"""The process that becomes Meltano: it imports it while its parent still reads configuration, then does as told.

Importing Meltano takes most of the wall time of a small run. The instruction (argv, environment, working directory)
comes as one JSON line on standard input; end of file instead means that there is nothing to run.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys

PARENT_ENV = "DATIVO_PARENT_PID"
LATER = (
    "alembic.command",
    "alembic.ddl.sqlite",
    "sqlalchemy.dialects.sqlite",
    "anyio._backends._asyncio",
    "anyio.to_thread",
    "mako.template",
    "ruamel.yaml.mergevalue",
    "meltano.core.meltano_file",
    "meltano.core.state_store.azure.settings",
    "meltano.core.state_store.google.settings",
    "meltano.core.state_store.s3.settings",
    "target_iceberg.singer.meltano_state",
)


def main() -> None:
    """Wait for the instruction, then be `meltano <argv>`."""
    die_with_parent()
    gc.disable()  # what modules leave behind is no garbage, and looking through it takes a quarter of the time
    from meltano.cli import main as meltano

    preload()
    gc.freeze()
    gc.enable()
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return
    instruction = json.loads(line)
    # Meltano and its plugins read nothing from here; an inherited pipe would keep the parent's end alive.
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.environ.clear()
    os.environ.update(instruction["env"])
    os.chdir(instruction["cwd"])
    sys.argv = ["meltano", *instruction["argv"]]
    code: object = 0
    try:
        meltano()
    except SystemExit as e:
        code = e.code
    sys.stdout.flush()
    sys.stderr.flush()
    # All is said and done; taking a large interpreter apart in good order costs a quarter of a second.
    os._exit(code if isinstance(code, int) else int(code is not None))


def preload() -> None:
    """Import what Meltano imports later, while it is waited for anyway; a name that has moved costs nothing."""
    for name in LATER:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def die_with_parent() -> None:
    """Be killed by the kernel when the parent ends, however it ends (Linux; elsewhere end of file has to do)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes
    import signal

    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL, 0, 0, 0)
    if os.environ.get(PARENT_ENV) not in (None, str(os.getppid())):
        sys.exit(0)  # the parent went before the kernel knew


if __name__ == "__main__":
    main()
