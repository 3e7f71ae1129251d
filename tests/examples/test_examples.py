"""Every lint by example: negative/<code>-<case>/ is found as expected.txt says, positive/<code>-<case>/ has no finding.

A case holds the files that differ from base/; case.yaml may give `paths` and `mode`. Adding a case is adding a directory;
`python tests/examples/test_examples.py` writes every expected.txt anew, to be read before it is committed.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from dativo.config.checking import check
from dativo.config.diagnostics import LINTS
from dativo.config.project import Project
from dativo.config.report import as_text

HERE = Path(__file__).parent
NEGATIVE = sorted(p for p in (HERE / "negative").iterdir() if p.is_dir())
POSITIVE = sorted(p for p in (HERE / "positive").iterdir() if p.is_dir())


def found_in(case: Path, root: Path) -> tuple[list[str], str]:
    """Codes, and the findings as `dativo validate` prints them."""
    shutil.copytree(HERE / "base", root, dirs_exist_ok=True)
    shutil.copytree(case, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("case.yaml", "expected.txt"))
    options = yaml.safe_load((case / "case.yaml").read_text()) if (case / "case.yaml").exists() else {}
    paths = [root / p for p in options.get("paths", ())]
    findings = check(Project(root), paths, mode=options.get("mode", "self_hosted")).findings
    return [f.code for f in findings], "".join(f"{as_text(f)}\n" for f in findings)


@pytest.mark.parametrize("case", NEGATIVE, ids=lambda p: p.name)
def test_negative_example_is_found_with_place_and_remedy(case: Path, tmp_path: Path) -> None:
    codes, text = found_in(case, tmp_path / "project")
    assert case.name.split("-")[0] in codes
    assert text == (case / "expected.txt").read_text()


@pytest.mark.parametrize("case", POSITIVE, ids=lambda p: p.name)
def test_positive_example_has_no_finding(case: Path, tmp_path: Path) -> None:
    assert found_in(case, tmp_path / "project")[1] == ""


@pytest.mark.parametrize("directory", [NEGATIVE, POSITIVE], ids=["negative", "positive"])
def test_every_lint_has_an_example(directory: list[Path]) -> None:
    assert {p.name.split("-")[0] for p in directory} == set(LINTS)


def test_a_project_without_any_directory_says_how_to_begin(tmp_path: Path) -> None:
    findings = check(Project(tmp_path)).findings
    assert [f.code for f in findings] == ["DTV020"]
    assert "dativo init" in findings[0].remedy


if __name__ == "__main__":
    for example in NEGATIVE:
        with tempfile.TemporaryDirectory() as scratch:
            written = found_in(example, Path(scratch) / "project")[1]
            (example / "expected.txt").write_text(written)
            sys.stdout.write(f"== {example.name}\n{written}")
