"""The edges between packages and the size of their parts, as docs/explanation/architecture.md states them."""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "dativo": ROOT / "src/dativo",
    "dativo_ingest": ROOT / "src/dativo_ingest",
    "target_iceberg": ROOT / "target-iceberg/src/target_iceberg",
    "singer_arrow": ROOT / "singer-arrow/src/singer_arrow",
    **{d.name: d for d in sorted(ROOT.glob("taps/*/src/*")) if (d / "__init__.py").is_file()},
}
TAPS = {name for name in PACKAGES if name.startswith("tap_") and name != "tap_kit"}
MAY_IMPORT = {
    "dativo": {"target_iceberg"},
    "dativo_ingest": {"dativo"},
    "target_iceberg": {"singer_arrow"},
    "singer_arrow": set(),
    "tap_kit": {"singer_arrow"},
    **{key: {"tap_kit", "singer_arrow"} for key in TAPS},
}
PUBLIC_OF_TARGET = {
    "load_plan",
    "path_pattern",
    "run_report",
    "types",
    "errors",
    "glance",
    "lake",
    "branches",
    "sql_rules",
}
LIGHT_MODULES = (
    "target_iceberg.load_plan",
    "target_iceberg.run_report",
    "target_iceberg.types",
    "target_iceberg.errors",
    "target_iceberg.glance",
    "target_iceberg.path_pattern",
)
WIRE_FORMAT = ("target_iceberg.singer.messages", "target_iceberg.singer.framing")
"""What lines look like; they lie beside the pipeline that uses them and import nothing of it."""
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Import:
    """One imported module of one source file."""

    importer: str
    """Dotted name of the importing module."""
    imported: str
    line: int
    is_deferred: bool
    """Inside a function, or below `if TYPE_CHECKING`."""

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules(package: str) -> list[tuple[str, Path]]:
    """Dotted name and file of every module of a package."""
    base = PACKAGES[package]
    return [
        (".".join(file.relative_to(base.parent).with_suffix("").parts).removesuffix(".__init__"), file)
        for file in sorted(base.rglob("*.py"))
    ]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(), str(file))


@cache
def imports(package: str) -> tuple[Import, ...]:
    found = []
    for name, file in modules(package):
        deferred = {id(n) for block in ast.walk(tree(file)) if _defers(block) for n in ast.walk(block)}
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}:{node.lineno}: relative import"
                targets = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            found += [Import(name, target, node.lineno, id(node) in deferred) for target in targets]
    return tuple(found)


def _defers(node: ast.AST) -> bool:
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _is_below(module: str, *parents: str) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in parents)


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_along_the_edges(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    crossing = [
        str(i) for i in imports(package) if (top := i.imported.partition(".")[0]) in PACKAGES and top not in allowed
    ]
    assert crossing == []


def test_dativo_imports_only_the_public_modules_of_the_target() -> None:
    used = [i for i in imports("dativo") if _is_below(i.imported, "target_iceberg")]
    strangers = [str(i) for i in used if ([*i.imported.split("."), ""])[1] not in PUBLIC_OF_TARGET]
    assert used
    assert strangers == []


def test_dativo_opens_the_lake_only_inside_functions() -> None:
    at_import = [
        str(i) for i in imports("dativo") if _is_below(i.imported, "target_iceberg.lake") and not i.is_deferred
    ]
    assert at_import == []


def test_nothing_of_dativo_itself_loads_pyiceberg_or_the_sdk() -> None:
    heavy = [str(i) for i in imports("dativo") if _is_below(i.imported, "pyiceberg", "pyarrow", "singer_sdk", "duckdb")]
    assert heavy == []


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        ("singer_sdk", ("target_iceberg.singer", "target_iceberg.testing")),
        ("meltano", ("target_iceberg.singer.meltano_state",)),
        ("pyiceberg", ("target_iceberg.table", "target_iceberg.lake", "target_iceberg.testing")),
        (
            "duckdb",
            (
                "target_iceberg.records.content_digest",
                "target_iceberg.records.staged_rows",
                "target_iceberg.sql_rules",
                "target_iceberg.table",
                "target_iceberg.testing",
            ),
        ),
    ],
)
def test_the_core_of_the_target_knows_each_library_in_one_place(library: str, homes: tuple[str, ...]) -> None:
    outside = [
        str(i)
        for i in imports("target_iceberg")
        if _is_below(i.imported, library) and not _is_below(i.importer, *homes)
    ]
    assert outside == []


@pytest.mark.parametrize(
    ("part", "forbidden"),
    [
        ("dativo.config", ("dativo.lower", "dativo.runtime", "dativo.commands", "dativo.cli", "click", "rich")),
        ("dativo.config.model", ("dativo.config.odcs", "dativo.config.resolve", "dativo.config.lints")),
        ("dativo.lower", ("dativo.runtime", "dativo.commands", "dativo.cli", "click", "rich")),
        ("dativo.runtime", ("dativo.commands", "dativo.cli", "click")),
        ("dativo.commands", ("dativo.cli",)),
        ("target_iceberg.records", ("target_iceberg.singer", "target_iceberg.table", "target_iceberg.lake")),
        ("target_iceberg.table", ("target_iceberg.singer", "target_iceberg.lake")),
    ],
)
def test_layers_import_only_downwards(part: str, forbidden: tuple[str, ...]) -> None:
    package = part.partition(".")[0]
    upward = [
        str(i)
        for i in imports(package)
        if _is_below(i.importer, part) and _is_below(i.imported, *forbidden) and not _is_below(i.imported, *WIRE_FORMAT)
    ]
    assert upward == []


def test_the_wire_format_imports_nothing_of_the_pipeline() -> None:
    own = [
        i for i in imports("target_iceberg") if i.importer in WIRE_FORMAT and _is_below(i.imported, "target_iceberg")
    ]
    light = (*WIRE_FORMAT, "target_iceberg.singer.envelopes", "target_iceberg.errors")
    assert [str(i) for i in own if not _is_below(i.imported, *light)] == []


def test_public_modules_of_the_target_and_the_command_line_load_no_heavy_library() -> None:
    code = (
        "import sys, importlib\n"
        f"for name in {(*LIGHT_MODULES, 'dativo.cli', 'singer_arrow')!r}: importlib.import_module(name)\n"
        "print(*sorted({'pyiceberg', 'pyarrow', 'singer_sdk', 'duckdb', 'numpy', 'meltano'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []


def test_the_launcher_uses_nothing_but_the_standard_library() -> None:
    foreign = [
        str(i)
        for i in imports("singer_arrow")
        if i.importer == "singer_arrow.launcher" and i.imported.partition(".")[0] not in sys.stdlib_module_names
    ]
    assert foreign == []


def test_requirements_list_every_distribution_once() -> None:
    listed = [line.removeprefix("-e ") for line in (ROOT / "requirements.txt").read_text().split("\n") if line]
    there = {
        "." if file.parent == ROOT else f"./{file.parent.relative_to(ROOT).as_posix()}"
        for pattern in ("pyproject.toml", "*/pyproject.toml", "taps/*/pyproject.toml")
        for file in ROOT.glob(pattern)
    }
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_and_functions_stay_readable(package: str) -> None:
    too_long = []
    for name, file in modules(package):
        lines = len(file.read_text().splitlines())
        if lines > MAX_MODULE_LINES:
            too_long.append(f"{name}: {lines} lines")
        for node in ast.walk(tree(file)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MAX_FUNCTION_LINES:
                    too_long.append(f"{name}.{node.name}: {length} lines")
    assert too_long == []


def _swallows_everything(handler: ast.ExceptHandler) -> bool:
    """Catches all there is and does not pass it on as it is."""
    caught = handler.type
    names = {n.id for n in ast.walk(caught) if isinstance(n, ast.Name)} if caught is not None else {"BaseException"}
    last = handler.body[-1]
    return bool(names & {"Exception", "BaseException"}) and not (isinstance(last, ast.Raise) and last.exc is None)


BOUNDARIES = {"dativo.cli", "target_iceberg.singer.main", "tap_kit.tap"}
"""The one place of each program that turns what nobody foresaw into an exit code."""
HANDED_ON = {
    "target_iceberg.singer.pipeline",
    "tap_csv.prefetch",
    "tap_kit.database.merged",
    "tap_mysql.ahead",
    "dativo.runtime.preflight",
}
"""Threads that catch whatever happens and raise it again in the thread that waits for them."""


def test_only_the_boundary_of_a_program_catches_everything() -> None:
    blind = [
        name
        for package in PACKAGES
        for name, file in modules(package)
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ExceptHandler) and _swallows_everything(node)
    ]
    assert sorted(n for n in blind if n not in HANDED_ON) == sorted(BOUNDARIES)
