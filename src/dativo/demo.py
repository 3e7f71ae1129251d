"""`make demo`: compile and run the example jobs, show what lies in the lake, and say what to type next."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ADDRESS = "demo/shop.orders"


def _step(title: str, *arguments: str) -> int:
    """Run one command as a user would type it."""
    sys.stdout.write(f"\n== {title}\n$ dativo {shlex.join(arguments)}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "dativo", *arguments], check=False).returncode


def main() -> int:
    """Run the demo in the project of the working directory; 0 when the rows are in the table."""
    root = Path.cwd()
    if not (root / "jobs" / "demo").is_dir():
        sys.stderr.write(
            "jobs/demo is not here: run `make demo` in a checkout of Dativo, or `dativo init` in an empty directory\n"
        )
        return 2
    steps = (
        ("YAML -> meltano.yml, load plans and Singer catalogs", "compile", "jobs/"),
        ("tap-csv -> target-iceberg, through Meltano", "run", "--job-dir", "jobs/demo"),
        ("what is in the table", "table", "show", ADDRESS, "--limit", "5"),
        ("all jobs of the demo tenant", "status", "jobs/demo"),
    )
    for title, *arguments in steps:
        if code := _step(title, *arguments):
            return code
    sys.stdout.write(f"""
== next
The table is Iceberg: catalog {root / "lake" / "demo" / "catalog.db"}, files below {root / "lake" / "demo" / "warehouse"}.
  . .venv/bin/activate                             put `dativo` on your PATH
  dativo run --config jobs/demo/orders.yaml        again: nothing new, no new snapshot
  meltano run tap-csv target-iceberg               plain Meltano works too
  docs/tutorial/first-table.md                     your own CSV in five minutes
""")
    return 0


if __name__ == "__main__":
    sys.exit(main())
