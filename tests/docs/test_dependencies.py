"""docs/explanation/dependencies.md gives a reason for each dependency that a distribution asks for, and for no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECTS = [
    f for pattern in ("pyproject.toml", "*/pyproject.toml", "taps/*/pyproject.toml") for f in ROOT.glob(pattern)
]


def _list_of(text: str, key: str) -> set[str]:
    """Names in one list of requirements. Python 3.10 has no TOML reader; the files are ours and plain."""
    found = re.search(rf"^{key} = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    requirements = re.findall(r'^\s*"([^"]+)"', found[1], re.MULTILINE) if found else []
    return {re.split(r"[\[<>=~!; ]", r, maxsplit=1)[0] for r in requirements}


def _section(title: str) -> dict[str, str]:
    """First cell -> second cell of the table below a title."""
    page = (ROOT / "docs/explanation/dependencies.md").read_text()
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", page.partition(f"## {title}\n")[2].partition("\n## ")[0], re.MULTILINE)
    return {name: rest for names, rest in rows for name in re.findall(r"`([^`]+)`", names)}


def _ours() -> set[str]:
    return {re.search(r'^name = "(.*)"', f.read_text(), re.MULTILINE)[1] for f in PROJECTS}  # type: ignore[index]


def test_every_runtime_dependency_has_its_reason_and_its_users() -> None:
    users: dict[str, set[str]] = {}
    for file in PROJECTS:
        text = file.read_text()
        name = re.search(r'^name = "(.*)"', text, re.MULTILINE)
        assert name is not None
        for dependency in _list_of(text, "dependencies") - _ours():
            users.setdefault(dependency, set()).add(name[1])
    documented = {name: set(who.split(", ")) for name, who in _section("At run time").items()}
    assert documented == users


def test_every_development_dependency_has_its_reason() -> None:
    assert set(_section("To work on it")) == _list_of((ROOT / "pyproject.toml").read_text(), "dev")


def test_nothing_stands_under_on_purpose_not_that_is_installed_on_purpose() -> None:
    asked = {d for f in PROJECTS for key in ("dependencies", "dev") for d in _list_of(f.read_text(), key)}
    refused = set(_section("On purpose not"))
    assert refused
    assert not refused & asked
