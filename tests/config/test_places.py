"""A job of one tenant cannot name a place of another, whatever it writes."""

from __future__ import annotations

import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dativo.config.checking import check
from dativo.config.places import path_problem, warehouse_problem
from dativo.errors import DativoError
from dativo.runtime.lake_access import catalog_here
from target_iceberg.load_plan import LakeCatalog, LoadPlan

TENANTS = {"acme", "globex", "Initech"}
PARTS = st.lists(
    st.sampled_from(
        ["acme", "globex", "GLOBEX", "Initech", "..", ".", "/", "//", "%2f", "%2e%2e", "@", "#", "*", ":", "?", "\\", "\0", "\n", " ", "in",
         "${T}", "\uff47lobex", "\u0433lobex", "gl\u200bobex"]
    ),
    max_size=8,
)  # fmt: skip
HOSTILE = st.one_of(
    PARTS.map("".join), PARTS.map("/".join), st.text(max_size=30), PARTS.map(lambda p: "acme/" + "/".join(p))
)


def _owner(path: str) -> list[str]:
    """Levels of a path as a server might understand it at worst."""
    plain = unquote(unquote(path)).replace("\\", "/").split("?")[0].split("#")[0]
    return [level.strip().casefold() for level in posixpath.normpath("/" + plain).split("/")]


@settings(max_examples=500)
@given(HOSTILE)
@example("../globex")
@example("x/..%2fglobex")
@example("GLOBEX/in")
@example("/globex")
@example("in\\..\\globex")
def test_a_path_that_is_let_through_leads_to_no_other_tenant(path: str) -> None:
    if path_problem("acme", TENANTS, path) is None:
        assert not {"globex", "initech"} & set(_owner(path))
        assert ".." not in path.split("/")
        for bad in "%?#*\\\0\n":
            assert bad not in path


@settings(max_examples=300)
@given(HOSTILE)
def test_what_variables_make_of_a_place_is_judged_again(value: str) -> None:
    plan = LoadPlan(
        tenant="acme",
        job="j",
        state_id="s",
        tap="t",
        catalog=LakeCatalog(kind="files", properties={"warehouse": "s3://raw/${PLACE}/acme"}),
        streams=(),
        state_dir="state/acme/j",
    )
    root = Path(__file__).parents[1] / "nowhere"
    refusal = None
    try:
        warehouse = catalog_here(plan, root=root, variables={"PLACE": value}).properties["warehouse"]
    except DativoError as e:
        refusal = str(e)
    if refusal is not None:
        assert "acme/j" in refusal
        return
    assert posixpath.normpath(warehouse.partition("raw")[2]).endswith("/acme")
    assert ".." not in warehouse.split("/")


@pytest.mark.parametrize("place", ["raw", "raw/acme", "a.b/c-d_e", "/lake/acme", "Raw 2026"])
def test_ordinary_places_are_let_through(place: str) -> None:
    assert path_problem("acme", TENANTS, place) is None


@pytest.mark.parametrize(
    "place", ["s3://raw/in", "gs://b", "abfs://lake/x", "lake/acme", "s3://${BUCKET}/x", "file:///data/acme"]
)
def test_ordinary_warehouses_are_let_through(place: str) -> None:
    assert warehouse_problem("acme", TENANTS, place) is None


@pytest.mark.parametrize(
    "place", ["s3://raw@evil/in", "s3://raw/in?x=globex", "s3:///x", "s3://raw/globex", "s3://raw/in#x"]
)
def test_a_warehouse_that_means_something_else_is_refused(place: str) -> None:
    assert warehouse_problem("acme", TENANTS, place) is not None


def test_a_tenant_whose_name_could_be_two_is_refused_in_a_shared_catalog(project: Any) -> None:
    found = check(
        project(
            {
                "jobs/acme__x/orders.yaml": """
                    source_connector: csv
                    target_connector: iceberg
                    asset: orders
                    source: {files: [{path: o.csv, object: orders}]}
                    target: {connection: {catalog: {type: rest, uri: "http://lake"}}}
                """,
                "assets/csv/v1.0/orders.yaml": """
                    name: orders
                    version: "1.0"
                    schema: [{name: id, type: integer, required: true, primaryKey: true}]
                """,
            }
        )
    ).findings
    assert [f.code for f in found] == ["DTV053"]
