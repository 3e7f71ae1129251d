"""Write what `make faults` has observed into docs/explanation/reliability.md, and print it: `python docs/observed_faults.py FILE`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent / "explanation/reliability.md"
BLOCK = re.compile(r"(<!-- observed: faults -->\n).*?(<!-- end -->)", re.DOTALL)
HEAD = ("where", "fault", "exit code of the run", "the next run")


def main() -> int:
    """Rows come as JSON lines; 1 when there is none."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    if not rows:
        print("no fault was observed", file=sys.stderr)
        return 1
    rows.sort(key=lambda r: (r["where"], r["fault"]))
    lines = [HEAD, tuple("---" for _ in HEAD), *((r["where"], r["fault"], r["run"], r["next"]) for r in rows)]
    table = "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"
    PAGE.write_text(BLOCK.sub(lambda m: m[1] + table + m[2], PAGE.read_text()))
    for r in rows:
        print(f"{r['seconds']:6.1f} s  {r['where']}: {r['fault']}: {r['run']}; next run {r['next']}")
    print(f"{len(rows)} faults; the table is in {PAGE.relative_to(Path.cwd())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
