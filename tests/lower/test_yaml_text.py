"""Compiled YAML says exactly what it was given, whoever reads it."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dativo.lower import yaml_text

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    TEXT,
    st.sampled_from(["no", "1e3", ".5", "~", "a: b"]),
)
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(TEXT, DATA, max_size=4))
def test_what_is_written_reads_back_the_same(data: dict[str, object]) -> None:
    assert yaml.safe_load(yaml_text.dump(data) or "{}") == data


@pytest.mark.parametrize(
    "word", ["yes", "No", "on", "null", "True", "n", "~", "1", "0x1f", "1_000", "2025-01-01", "", "-", "a b"]
)
def test_text_that_yaml_takes_for_something_else_is_quoted(word: str) -> None:
    assert yaml_text.scalar(word).startswith('"')


def test_paths_and_plugin_names_stand_without_quotes() -> None:
    text = yaml_text.dump({"catalog": ".dativo/plans/demo/orders.catalog.json", "name": "tap-csv--demo--orders"})
    assert text == "catalog: .dativo/plans/demo/orders.catalog.json\nname: tap-csv--demo--orders\n"


def test_keys_keep_the_order_they_were_given_in() -> None:
    assert yaml_text.dump({"b": 1, "a": {"d": 2, "c": [{"z": 1, "x": 2}]}}) == (
        "b: 1\na:\n  d: 2\n  c:\n  - z: 1\n    x: 2\n"
    )


def test_a_value_that_is_no_plain_data_is_refused() -> None:
    with pytest.raises(TypeError, match="object"):
        yaml_text.dump({"a": object()})
