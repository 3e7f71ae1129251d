"""`python -m dativo_ingest.cli` and `dativo_ingest`: the same as `dativo`."""

from __future__ import annotations

from dativo.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
