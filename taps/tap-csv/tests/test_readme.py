"""The README says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tap_csv.settings import CONFIG_JSONSCHEMA
from tap_kit.cast import FALSE_WORDS, TRUE_WORDS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SOURCES = Path(__file__).parents[1] / "src" / "tap_csv"


def first_cells(heading: str) -> dict[str, list[str]]:
    """Names in the first column of the table whose header begins so, with the other cells of their row."""
    table = README.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table]
    return {name: cells[1:] for cells in rows for name in re.findall(r"`([^`]+)`", cells[0])}


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = first_cells("setting")
    properties = CONFIG_JSONSCHEMA["properties"]
    assert set(table) == set(properties)
    for name, definition in properties.items():
        if definition.get("default") is not None:
            shown = str(definition["default"])
            assert table[name][0] == f"`{shown}`", name


def test_every_key_of_an_entry_is_in_the_table() -> None:
    assert set(first_cells("key")) == set(CONFIG_JSONSCHEMA["properties"]["files"]["items"]["properties"])


def test_every_setting_has_a_description() -> None:
    entry = CONFIG_JSONSCHEMA["properties"]["files"]["items"]["properties"]
    assert all(d.get("description") for d in (*CONFIG_JSONSCHEMA["properties"].values(), *entry.values()))


def test_every_reject_rule_is_named() -> None:
    rules = {rule for file in SOURCES.glob("*.py") for rule in re.findall(r'"(csv\.[a-z_]+)"', file.read_text())}
    assert rules
    assert rules == set(re.findall(r"`(csv\.[a-z_]+)`", README)) - {"csv.gz"}


@pytest.mark.parametrize("word", [*TRUE_WORDS, *FALSE_WORDS])
def test_every_word_for_true_and_false_is_named(word: str) -> None:
    assert f"`{word}`" in next(line for line in README.splitlines() if line.startswith("| boolean"))
