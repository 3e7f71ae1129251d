"""Checked-in schemas equal the models, and agree with them about real files."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from dativo.config import schemas
from dativo.config.checking import check
from dativo.config.project import BUILTIN, Project

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", sorted(schemas.generate()))
def test_a_checked_in_schema_is_what_the_models_say(name: str) -> None:
    assert (ROOT / "schemas" / name).read_text(encoding="utf-8") == schemas.generate()[name]


def test_check_passes_and_a_stale_schema_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.main(["--write", str(tmp_path / "schemas")]) == 0
    assert schemas.main(["--check", str(tmp_path / "schemas")]) == 0
    (tmp_path / "schemas" / "job.schema.json").write_text("{}")
    assert schemas.main(["--check", str(tmp_path / "schemas")]) == 1
    assert "job.schema.json is stale" in capsys.readouterr().out


FILES = [
    *((f, "job") for f in sorted((ROOT / "jobs").rglob("*.yaml"))),
    *((f, "recipe") for f in sorted((BUILTIN / "connectors").rglob("*.yaml"))),
    (BUILTIN / "registry/connectors.yaml", "connectors"),
    (ROOT / "assets/stripe/v1.0/customers.yaml", "contract-nested"),
    (ROOT / "assets/hubspot/v1.0/contacts.yaml", "odcs/dativo-odcs-3.0.2-extended"),
]


@pytest.mark.parametrize(("file", "schema"), FILES, ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_the_repository_s_files_are_valid_for_an_editor(file: Path, schema: str) -> None:
    validator = jsonschema.Draft202012Validator(json.loads((ROOT / f"schemas/{schema}.schema.json").read_text()))
    assert [e.message for e in validator.iter_errors(yaml.safe_load(file.read_text()))] == []


def test_the_repository_is_a_valid_project() -> None:
    assert check(Project(ROOT)).findings == []
