"""The table of faults in the documentation is one that was observed, of the faults that there are."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_fault_has_a_row_and_no_row_is_of_another() -> None:
    directory = ROOT / "target-iceberg/tests/nessie"
    sys.path.insert(0, str(directory))
    spec = importlib.util.spec_from_file_location("faults", directory / "faults.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules.setdefault("faults", importlib.util.module_from_spec(spec))
    if not hasattr(module, "FAULTS"):
        spec.loader.exec_module(module)
    page = (ROOT / "docs/explanation/reliability.md").read_text()
    rows = re.findall(r"^\| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", page, re.MULTILINE)[2:]
    assert {(where, title) for where, title, _, _ in rows} == {(f.where, f.title) for f in module.FAULTS.values()}
    for _, title, run, following in rows:
        assert run.startswith(("0", "2", "killed")), title
        assert following == "0: whole", title
