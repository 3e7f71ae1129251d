"""A known secret never passes, whatever it wears."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dativo.runtime.redaction import Redactor

SECRET = 'p@ss"wörd/+ 42\\x'


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        quote(SECRET),
        quote(SECRET, safe=""),
        quote_plus(SECRET),
        json.dumps(SECRET),
        json.dumps(SECRET, ensure_ascii=False),
        json.dumps(json.dumps(SECRET)),
        repr(SECRET),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_every_form_of_a_secret_is_replaced(form: str) -> None:
    shown = Redactor([SECRET], patterns=False).text(f"before {form} after")
    assert "ss" not in shown.replace("***", "")
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize("user", ["u", "us", "use", "user"])
def test_a_secret_inside_basic_authentication_is_replaced(user: str) -> None:
    header = base64.b64encode(f"{user}:{SECRET}:".encode()).decode()
    assert header not in Redactor([SECRET], patterns=False).text(f"Authorization: Basic {header}")


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=7), st.text(max_size=30))
def test_no_text_shows_a_secret(secret: str, around: str) -> None:
    redactor = Redactor([secret], patterns=False)
    if secret not in "***":
        assert secret not in redactor.text(f"{around}{secret}{around}").replace("***", "\0")


def test_a_short_secret_does_not_eat_other_numbers() -> None:
    redactor = Redactor(["42"], patterns=False)
    assert redactor.text("pin 42, row 1420") == "pin ***, row 1420"


def test_each_line_of_a_private_key_is_secret() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG\n9w0BAQEFAASCBKcwggSj\n-----END PRIVATE KEY-----\n"
    shown = Redactor([key]).text("line: 9w0BAQEFAASCBKcwggSj")
    assert shown == "line: ***"


def test_values_inside_a_service_account_are_secret() -> None:
    redactor = Redactor([json.dumps({"private_key_id": "0123456789abcdef"})])
    assert "0123456789abcdef" not in redactor.text("key 0123456789abcdef")


def test_patterns_catch_what_nobody_named() -> None:
    shown = Redactor([]).text("url postgres://me:hunter22@db/x password=hunter22 Authorization: Bearer abcdefgh")
    assert "hunter22" not in shown
    assert "abcdefgh" not in shown


def test_nested_values_are_cleaned_keys_included() -> None:
    assert Redactor(["topsecret"]).value({"topsecret": [{"a": "x topsecret"}, 5]}) == {"***": [{"a": "x ***"}, 5]}


def test_an_empty_secret_replaces_nothing() -> None:
    assert Redactor(["", "  "]).text("a b  c") == "a b  c"
