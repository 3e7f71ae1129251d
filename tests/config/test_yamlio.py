"""Positions and faults of single files; the codes themselves are shown in tests/examples."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dativo.config import yamlio

if TYPE_CHECKING:
    from pathlib import Path

    from dativo.config.diagnostics import Finding
    from dativo.config.yamlio import Document


def loaded(tmp_path: Path, text: str) -> tuple[Document | None, list[Finding]]:
    file = tmp_path / "x.yaml"
    file.write_text(text, encoding="utf-8")
    findings: list[Finding] = []
    return yamlio.load(file, "x.yaml", findings), findings


def test_every_key_and_item_has_its_position(tmp_path: Path) -> None:
    document, _ = loaded(tmp_path, "a: 1\nb:\n  - c: 2\n  - {d: 3}\n")
    assert document is not None
    assert document.position(("a",)) == (1, 1)
    assert document.position(("b", 0)) == (3, 5)
    assert document.position(("b", 0, "c")) == (3, 5)
    assert document.position(("b", 1, "d")) == (4, 6)


def test_a_path_that_is_not_there_points_at_its_nearest_ancestor(tmp_path: Path) -> None:
    document, _ = loaded(tmp_path, "a: 1\nb:\n  c: 2\n")
    assert document is not None
    assert document.position(("b", "x", "y")) == (2, 1)
    assert document.position(("z",)) == (1, 1)


def test_variables_dates_and_times_stay_as_they_are_written(tmp_path: Path) -> None:
    document, findings = loaded(tmp_path, "a: ${A:-b}\nb: 2024-01-31\nc: 12:30\nd: 2024-01-31T10:00:00Z\ne: 1:2.5\n")
    assert document is not None
    assert findings == []
    assert document.data == {"a": "${A:-b}", "b": "2024-01-31", "c": "12:30", "d": "2024-01-31T10:00:00Z", "e": "1:2.5"}


def test_merge_keys_fill_in_what_a_mapping_does_not_say(tmp_path: Path) -> None:
    document, findings = loaded(tmp_path, "x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\nz: {<<: [*x, {c: 4}]}\n")
    assert document is not None
    assert findings == []
    assert document.data["y"] == {"a": 1, "b": 3}
    assert document.data["z"] == {"a": 1, "b": 2, "c": 4}


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "- " * 5_000, "".join(f"{' ' * i}a:\n" for i in range(1_500)), "? " * 3_000, "&a [*a]"]
)
def test_nesting_that_would_crash_a_reader_is_a_finding(tmp_path: Path, text: str) -> None:
    document, findings = loaded(tmp_path, text)
    assert document is None
    assert [f.code for f in findings] == ["DTV004"]


def test_aliases_cannot_blow_up_a_small_file(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    document, findings = loaded(tmp_path, "\n".join(lines))
    assert document is None
    assert [f.code for f in findings] == ["DTV004"]


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1, max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(value=st.dictionaries(st.text("abc", min_size=1, max_size=3), PLAIN, min_size=1, max_size=4))
def test_plain_data_is_read_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    document, findings = loaded(tmp_path_factory.mktemp("yaml"), yaml.safe_dump(value))
    assert document is not None
    assert findings == []
    assert document.data == value


@given(raw=st.binary(max_size=60))
def test_no_bytes_raise_anything(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    file = tmp_path_factory.mktemp("yaml") / "x.yaml"
    file.write_bytes(raw)
    findings: list[Finding] = []
    assert yamlio.load(file, "x.yaml", findings) is not None or findings
