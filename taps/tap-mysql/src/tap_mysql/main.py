"""tap-mysql: the program."""

from __future__ import annotations

import sys

from tap_kit.program import start

_SWITCH_S = 0.0005
"""The thread that reads ahead gets its turn so often; with the 5 ms that are usual it leaves the server waiting."""


def main() -> None:
    """Run tap-mysql and exit."""
    sys.setswitchinterval(_SWITCH_S)
    start("tap_mysql.tap:TapMySQL")
