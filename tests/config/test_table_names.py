"""Names of tables: what parts they have, and which patterns mean them."""

from __future__ import annotations

import pytest

from dativo.config.table_names import is_pattern, means, object_of, parts


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("orders", ["orders"]),
        ("public.orders", ["public", "orders"]),
        ('"we.ird"."a ""b"" c"', ["we.ird", 'a "b" c']),
        ("`shop`.`a``b`", ["shop", "a`b"]),
        ('public."dot.ted"', ["public", "dot.ted"]),
        ('half "open', ['half "open']),
    ],
)
def test_the_parts_of_a_name(name: str, wanted: list[str]) -> None:
    assert parts(name) == wanted


@pytest.mark.parametrize(
    ("pattern", "table", "default", "wanted"),
    [
        ("public.*", "public.orders", "public", True),
        ("public.*", 'public."dot.ted"', "public", True),
        ("public.*", "sales.orders", "public", False),
        ("*", "sales.orders", "public", False),
        ("*", "public.orders", "public", True),
        ("orders_*", "shop.orders_1", None, True),
        ('"we.ird".*', '"we.ird"."Ü x"', "public", True),
        ("public.tmp_*", "public.tmp_1", "public", True),
        ("orders", "public.orders", "public", True),
        ("public.orders", "public.orders2", "public", False),
        ('public."a*"', "public.ab", "public", False),
        ('public."a*"', 'public."a*"', "public", True),
    ],
)
def test_what_a_pattern_means(pattern: str, table: str, default: str | None, wanted: bool) -> None:
    assert means(pattern, table, default) is wanted


def test_a_quoted_star_is_a_star() -> None:
    assert is_pattern("public.a*")
    assert not is_pattern('public."a*"')
    assert not is_pattern("`a[1]`")


def test_what_lakes_do_not_take_becomes_an_underscore() -> None:
    assert object_of('public."dot.ted and spaced"') == "dot_ted_and_spaced"
    assert object_of("public.orders") == "orders"
