"""`python -m dativo`."""

from __future__ import annotations

from dativo.cli import main

if __name__ == "__main__":
    main()
