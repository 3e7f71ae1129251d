"""Starting a tap as a program. This module imports no library, so that it is there before they are."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tap_kit.tap import Tap


def start(load: Callable[[], type[Tap]]) -> None:
    """Import a tap and run it by the command line.

    Args:
        load: imports the tap's class.
    """
    gc.disable()  # importing makes many objects and no garbage, and is a fifth faster so
    tap = load()
    gc.freeze()
    gc.enable()
    tap.main()
