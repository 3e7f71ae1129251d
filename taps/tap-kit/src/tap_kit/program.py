"""Starting a tap as a program. This module imports no library, so that it is there before they are."""

from __future__ import annotations

import gc
from pkgutil import resolve_name


def start(name: str) -> None:
    """Import a tap and run it by the command line.

    Args:
        name: module and class of the tap, as `tap_csv.tap:TapCSV`.
    """
    gc.disable()  # importing makes many objects and no garbage, and is a fifth faster so
    tap = resolve_name(name)
    gc.freeze()
    gc.enable()
    tap.main()
