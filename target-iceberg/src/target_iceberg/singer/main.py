"""Console entry points of target-iceberg and target-files, and their boundary: here errors become messages and exit codes."""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from target_iceberg.errors import InterruptedRun, TargetError
from target_iceberg.singer.log import event

if TYPE_CHECKING:
    from types import FrameType

LOG_LEVEL_ENV = "DATIVO_LOG_LEVEL"


def _stop(number: int, _frame: FrameType | None) -> NoReturn:
    raise InterruptedRun(number)


def _planned(arguments: list[str]) -> dict[str, Any] | None:
    """The configuration of a run by load plan; None where the SDK's command line is needed.

    A planned run needs nothing of the SDK, whose import takes as long as the whole rest of a run with nothing to do.
    """
    if len(arguments) != 2 or arguments[0] != "--config" or arguments[1] == "ENV":
        return None
    try:
        config = json.loads(Path(arguments[1]).read_bytes())
    except (OSError, ValueError):
        return None  # the SDK says what is wrong with it
    is_planned = isinstance(config, dict) and set(config) == {"load_plan"} and isinstance(config["load_plan"], str)
    return config if is_planned else None


def _run(arguments: list[str], program: str) -> int:
    config = _planned(arguments)
    if config is None:
        from target_iceberg.singer.target import TargetFiles, TargetIceberg

        target = TargetFiles if program == TargetFiles.name else TargetIceberg
        code: Any = target.cli(args=arguments, standalone_mode=False)
        return 2 if code else 0  # the SDK has said what it did not like
    from target_iceberg.singer.engine import execute
    from target_iceberg.singer.ledger import Ledger, owned_stdout
    from target_iceberg.singer.settings import from_config

    with owned_stdout() as out:
        execute(from_config(config), sys.stdin.buffer, Ledger(out))
    return 0


def main() -> NoReturn:
    """Run target-iceberg and exit."""
    _main("target-iceberg")


def main_of_files() -> NoReturn:
    """Run target-files and exit."""
    _main("target-files")


def _main(program: str) -> NoReturn:
    if (
        sys.platform == "linux"
    ):  # whose pyarrow has it; it keeps a quarter less memory than the default, at the same speed
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    gc.disable()  # importing makes many objects and no garbage, and is a fifth faster so; the first stream enables it
    for number in (signal.SIGTERM, signal.SIGINT):  # also while libraries are being imported
        signal.signal(number, _stop)
    code = 2
    try:
        code = _run(sys.argv[1:], program)
    except TargetError as e:
        event("failed", str(e), level="error", failure_class=e.failure_class, retryable=e.retryable)
    except InterruptedRun as e:
        event("interrupted", f"{e}; nothing was published", level="error")
        code = e.exit_code
    except Exception as e:  # noqa: BLE001  the one boundary of this program
        event("failed", f"{type(e).__name__}: {e}", level="error", failure_class="internal", retryable=False)
        if os.environ.get(LOG_LEVEL_ENV, "").lower() == "debug":
            traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    # Taking an interpreter with these libraries apart costs a fifth of a second and has nothing left to do.
    os._exit(code)
