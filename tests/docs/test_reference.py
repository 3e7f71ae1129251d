"""The reference says what the code says: regenerated tables are what stands there, and nothing is left out."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click
import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
REFERENCE = DOCS / "reference"
SOURCES = [
    file
    for pattern in ("src/*", "*/src/*", "taps/*/src/*")
    for package in sorted(ROOT.glob(pattern))
    for file in sorted(package.rglob("*.py"))
    if (package / "__init__.py").is_file()
]
EMITTERS = {"Difference", "event", "say", "Event", "announce", "_announce", "_announce_once"}


@cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dativo_docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (REFERENCE / name).read_text()


def first_column(text: str) -> set[str]:
    return set(re.findall(r"^\| `([^`]+)`", text, re.MULTILINE))


@pytest.mark.parametrize("file", sorted(DOCS.rglob("*.md")), ids=lambda f: f.relative_to(DOCS).as_posix())
def test_generated_tables_are_what_the_code_says(file: Path) -> None:
    text = file.read_text()
    assert generator().regenerate(text) == text, "write it again: python docs/generate.py"


def test_every_key_and_option_has_a_meaning() -> None:
    nameless = [
        f"{file.name}: {line}"
        for file in sorted(REFERENCE.glob("*.md"))
        for block in generator().BLOCK.finditer(file.read_text())
        if block[2] in {"model", "values", "settings", "cli", "lints"}
        for line in block[4].splitlines()
        if line.startswith("| `") and line.rstrip().endswith("|  |")
    ]
    assert nameless == []


def test_every_command_has_a_help_text_and_a_section() -> None:
    text = page("cli.md")
    for name, command in generator().commands():
        assert f"### {name}\n" in text
        assert command.help, name
        for option in (p for p in command.params if isinstance(p, click.Option)):
            assert option.opts[0] in text.partition(f"### {name}\n")[2].partition("\n### ")[0]


def test_every_key_of_a_mapping_that_people_write_is_documented() -> None:
    from dativo.config.model import connection, contract_file, job, policy, recipe, registry, runner

    text = "".join(file.read_text() for file in REFERENCE.glob("*.md"))
    for module in (job, connection, recipe, registry, contract_file, runner, policy):
        for name in _models(module):
            assert re.search(
                rf"<!-- generated: model {module.__name__}:{name} -->|\(#{name.lower()}\)|## {name}\n", text
            ), name


def _models(module: ModuleType) -> list[str]:
    import pydantic

    inline = {"NestedContract", "Registry"}  # one key, or two, that the page itself names
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, pydantic.BaseModel)
        and value.__module__ == module.__name__
        and name not in inline
    ]


def test_the_types_table_is_the_one_table_of_types() -> None:
    from target_iceberg.types import TABLE

    text = page("contract.md").partition("## Types")[2].partition("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(TABLE)
    for row, type_ in zip(rows, TABLE, strict=True):
        assert all(f"`{word}`" in row for word in type_.contract_words)
        assert (type_.lossy or "") in row


def test_every_lint_is_documented() -> None:
    from dativo.config.diagnostics import LINTS

    assert first_column(page("lints.md")) == set(LINTS)


def test_the_cascade_table_is_the_one_of_the_code() -> None:
    from dativo.config.cascade import CASCADE

    rows = [line for line in page("cascade.md").splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert [row.split("|")[1].strip() for row in rows] == [row.value for row in CASCADE]


def test_every_event_type_is_documented() -> None:
    emitted = {name for file in SOURCES for name in _event_types(ast.parse(file.read_text()))}
    assert {"run_started", "run_finished", "progress"} <= emitted
    assert first_column(page("log-events.md")) == emitted


def _event_types(tree: ast.Module) -> set[str]:
    """First argument of every call that emits, or the second after a logger; both branches of a condition."""
    found = {"log"}  # the default of our taps' formatter
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in EMITTERS and node.args:
            follows_logger = _name(node.args[0]) == "logger" and len(node.args) > 1
            found |= _texts(node.args[1 if follows_logger else 0])
    return found


def _texts(argument: ast.expr) -> set[str]:
    branches = [argument.body, argument.orelse] if isinstance(argument, ast.IfExp) else [argument]
    words = {b.value for b in branches if isinstance(b, ast.Constant) and isinstance(b.value, str)}
    return {w for w in words if re.fullmatch("[a-z_]+", w)}  # DTV045 belongs to another `say`


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def test_every_variable_of_ours_is_documented() -> None:
    messages = {"DATIVO_START", "DATIVO_END", "DATIVO_REJECT", "DATIVO_KEYS"}  # of the wire, not of the environment
    used = {name for file in SOURCES for name in re.findall(r"\bDATIVO_[A-Z_]*[A-Z]\b", file.read_text())} - messages
    assert {name for name in first_column(page("environment.md")) if name.startswith("DATIVO_")} == used


def test_every_outcome_has_the_exit_code_that_the_pages_give() -> None:
    from target_iceberg.run_report import EXIT_CODES

    text = page("run-report.md").partition("### outcome")[2].partition("\n## ")[0]
    for outcome, code in EXIT_CODES.items():
        assert re.search(rf"^\| `{outcome}` \|.*Exit code {code}\.", text, re.MULTILINE), outcome


def test_failure_classes_that_are_never_retried_are_named() -> None:
    from dativo.runtime.retry import NEVER
    from target_iceberg.run_report import FailureClass

    assert set(get_args(FailureClass)) >= NEVER
    assert {"configuration", "violations", "evolution", "refused", "interrupted"} == NEVER  # as job.md says in words


@pytest.mark.parametrize("plugin", ["tap-csv", "tap-mysql", "tap-postgres", "target-iceberg"])
def test_settings_are_those_that_the_plugin_announces(plugin: str) -> None:
    executable = Path(sys.executable).parent / plugin
    done = subprocess.run([executable, "--about", "--format", "json"], capture_output=True, text=True, check=True)
    announced = json.loads(done.stdout)["settings"]["properties"]
    ours = first_column(page(f"{plugin}.md").partition("\n## ")[0])
    assert ours <= set(announced)
    of_the_sdk = ("stream_map", "flattening_", "faker_", "batch_config")
    assert [name for name in announced if name not in ours and not name.startswith(of_the_sdk)] == []


def test_links_between_files_lead_somewhere() -> None:
    pages = [
        *sorted(DOCS.rglob("*.md")),
        *(ROOT / n for n in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    ]
    broken = []
    for file in pages:
        for target in re.findall(r"\]\(([^)\s]+)\)", file.read_text()):
            path, _, anchor = target.partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            there = (file.parent / path).resolve() if path else file
            if not there.exists() or (anchor and there.suffix == ".md" and anchor not in _anchors(there)):
                broken.append(f"{file.relative_to(ROOT)}: {target}")
    assert broken == []


def _anchors(file: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}
