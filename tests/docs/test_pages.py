"""What pages tell people to type or open is there: commands, make targets, files, examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / n for n in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "Dockerfile")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def codes(text: str) -> list[str]:
    """Code spans, fenced and indented blocks."""
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```\w*\n.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return [*fenced, *re.findall(r"^    .*$", rest, re.MULTILINE), *re.findall(r"`([^`\n]+)`", rest)]


def dativo_commands(text: str) -> set[tuple[str, ...]]:
    found = set()
    for code in codes(text):
        for line in code.splitlines():
            for words in re.findall(r"(?:^|[\s$(&|])dativo((?: [a-z][a-z|-]*)+)", line):
                found.add(tuple(words.split()))
    return found


@pytest.mark.parametrize("file", PAGES, ids=lambda f: f.name)
def test_commands_that_are_named_exist(file: Path) -> None:
    from dativo.cli import cli

    unknown = []
    for words in dativo_commands(file.read_text()):
        first = cli.commands.get(words[0])
        if first is None:
            unknown.append(words)
        elif isinstance(first, click.Group) and words[1:]:
            unknown += [(words[0], w) for w in words[1].split("|") if w not in first.commands]
    assert unknown == []


@pytest.mark.parametrize("file", PAGES, ids=lambda f: f.name)
def test_make_targets_that_are_named_exist(file: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {t for code in codes(file.read_text()) for t in re.findall(r"(?:^|\s)make ([a-z][a-z-]*)", code)}
    assert named <= targets


@pytest.mark.parametrize("file", PAGES, ids=lambda f: f.name)
def test_options_that_are_named_exist(file: Path) -> None:
    from dativo.cli import cli

    for code in codes(file.read_text()):
        for line in code.splitlines():
            called = re.search(r"(?:^|[\s$(&])dativo ([a-z]+)( [a-z]+)?(.*)", line)
            command = cli.commands.get(called[1]) if called else None
            if called is None or command is None:
                continue
            if isinstance(command, click.Group):
                command = command.commands.get((called[2] or "").strip(), command)
            known = {o for p in command.params for o in p.opts} | {"--help"}
            assert set(re.findall(r"(?<!\S)--[a-z-]+", called[3].partition("#")[0])) <= known, line


def test_schemas_that_are_named_exist() -> None:
    named = {name for file in PAGES for name in re.findall(r"\bschemas/[\w./-]+\.json", file.read_text())}
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def test_the_example_of_a_new_connector_is_valid(tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/add-a-connector.md").read_text()
    files = re.findall(
        r"`((?:registry|connectors|jobs)/[\w/.]+\.yaml)`[^`]*?:\n\n```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE
    )
    assert len(files) == 3
    contract = (
        "apiVersion: v3.0.2\nkind: DataContract\nname: rates\nversion: '1.0.0'\nstatus: active\n"
        "schema:\n  - {name: date, type: date, required: true, primaryKey: true}\n  - {name: rate, type: double}\n"
    )
    for name, content in [*files, ("assets/exchange_rates/v1.0/rates.yaml", contract)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    done = subprocess.run(
        [sys.executable, "-m", "dativo", "validate"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_documents_stand_by_themselves() -> None:
    """No path of somebody's machine and no address of a package index."""
    forbidden = re.compile(r"/home/\w+|/root/|/Users/\w+|pypi\.org|files\.pythonhosted")
    assert [f"{f.name}: {m[0]}" for f in PAGES for m in forbidden.finditer(f.read_text())] == []


def test_the_generator_runs_on_its_own() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "docs/generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
