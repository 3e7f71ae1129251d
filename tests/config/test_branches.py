"""A job of one tenant cannot name a branch of another, whatever it writes."""

from __future__ import annotations

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dativo.config.lints import is_branch_of

HOSTILE = st.text(
    st.sampled_from("acmeACMEglobx0.-_/\\@#?:*%2f$~^{}[]|<>\"' \t\n\0\uff41\u0441\u0435\uff4d\u2024\uff0f"), max_size=30
)
PARTS = st.lists(
    st.sampled_from(["acme", "globex", "..", ".", "/", "%2f", "@", "#", "*", ":", "?", "${T}", "ACME", "main", "HEAD"])
)


@settings(max_examples=500)
@given(st.one_of(HOSTILE, PARTS.map("".join), PARTS.map("/".join), HOSTILE.map(lambda t: "acme/" + t)))
@example("acme/../globex")
@example("acme%2f..%2fglobex")
@example("acme@globex")
@example("acme/x@main")
@example("acme\n")
@example("\u0430cme")
def test_what_is_let_through_is_a_name_of_the_tenants_own(name: str) -> None:
    if is_branch_of("acme", name):
        first, *rest = name.split("/")
        assert first == "acme"
        for part in rest:
            assert set(part) <= set(string.ascii_letters + string.digits + "._-")
            assert part
            assert not part.startswith(".")
            assert not part.endswith(".")
            assert ".." not in part
    assert not is_branch_of("globex", name) or not is_branch_of("acme", name)


@pytest.mark.parametrize("name", ["acme", "acme/x", "acme/x/y-1", "acme/2026", "acme/v1.0"])
def test_names_below_the_tenants_are_its_own(name: str) -> None:
    assert is_branch_of("acme", name)


@pytest.mark.parametrize("tenant", ["1acme", "_acme", "acme."])
def test_a_tenant_whose_name_is_no_branch_has_none(tenant: str) -> None:
    assert not is_branch_of(tenant, tenant)
