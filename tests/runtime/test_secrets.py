"""Secrets are found by name, one tenant's only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from dativo.errors import DativoError
from dativo.runtime.secrets import load

if TYPE_CHECKING:
    from pathlib import Path


def put(directory: Path, name: str, content: str) -> None:
    directory.mkdir(exist_ok=True)
    file = directory / name
    file.write_text(content)
    file.chmod(0o600)


@pytest.mark.parametrize("name", ["STRIPE_API_KEY", "API_KEY", "stripe_api_key", "api_key"])
def test_a_json_file_gives_its_keys_with_and_without_its_stem(tmp_path: Path, name: str) -> None:
    put(tmp_path / "acme", "stripe.json", '{"api_key": "sk_1"}')
    assert load(tmp_path / "acme", {}).get(name) == "sk_1"


def test_nested_json_is_named_by_its_path(tmp_path: Path) -> None:
    put(tmp_path / "acme", "postgres.json", '{"connection": {"password": "p", "port": 5432}}')
    secrets = load(tmp_path / "acme", {})
    assert secrets.get("POSTGRES_CONNECTION_PASSWORD") == "p"
    assert secrets.get("CONNECTION_PORT") == "5432"


def test_a_whole_json_file_is_a_secret_by_its_stem(tmp_path: Path) -> None:
    put(tmp_path / "acme", "gdrive.json", '{"type": "service_account"}')
    assert json.loads(load(tmp_path / "acme", {}).get("GDRIVE") or "") == {"type": "service_account"}


@pytest.mark.parametrize("file", ["stripe_api_key", "stripe_api_key.txt", "STRIPE_API_KEY"])
def test_a_plain_file_gives_its_text_without_the_last_newline(tmp_path: Path, file: str) -> None:
    put(tmp_path / "acme", file, "sk_2\n")
    assert load(tmp_path / "acme", {}).get("STRIPE_API_KEY") == "sk_2"


def test_an_env_file_gives_its_names(tmp_path: Path) -> None:
    put(tmp_path / "acme", ".env", "# comment\nexport A_KEY='x y'\nB=\"2\"\n\nC=a=b\n")
    secrets = load(tmp_path / "acme", {})
    assert [secrets.get(n) for n in ("A_KEY", "B", "C", "D")] == ["x y", "2", "a=b", None]


def test_a_name_that_two_files_give_differently_is_refused_with_both_named(tmp_path: Path) -> None:
    put(tmp_path / "acme", "postgres.json", '{"password": "a"}')
    put(tmp_path / "acme", "mysql.json", '{"password": "b"}')
    secrets = load(tmp_path / "acme", {})
    assert secrets.get("MYSQL_PASSWORD") == "b"
    with pytest.raises(DativoError, match=r"mysql.json, postgres.json"):
        secrets.get("PASSWORD")


def test_variables_in_a_secret_come_from_the_environment(tmp_path: Path) -> None:
    put(tmp_path / "acme", "s.json", '{"url": "${HOST:-db}/${NAME}"}')
    assert load(tmp_path / "acme", {"NAME": "n"}).get("S_URL") == "db/n"
    with pytest.raises(DativoError, match="NAME"):
        load(tmp_path / "acme", {})


def test_a_missing_directory_is_a_warning(tmp_path: Path) -> None:
    secrets = load(tmp_path / "acme", {})
    assert secrets.get("ANY") is None
    assert "no secrets directory" in secrets.warnings[0]


def test_a_file_that_others_can_read_is_a_warning_that_says_what_to_do(tmp_path: Path) -> None:
    put(tmp_path / "acme", "k", "v")
    (tmp_path / "acme" / "k").chmod(0o644)
    assert "chmod 600" in load(tmp_path / "acme", {}).warnings[0]


@pytest.mark.parametrize(
    ("name", "content", "place"), [("a.json", '{"a": 1,}', "a.json:1"), ("a.env", "A=1\nnonsense\n", "a.env:2")]
)
def test_a_broken_file_is_named_with_the_place_and_without_its_content(
    tmp_path: Path, name: str, content: str, place: str
) -> None:
    put(tmp_path / "acme", name, content)
    with pytest.raises(DativoError) as error:
        load(tmp_path / "acme", {})
    assert place in str(error.value)
    assert "nonsense" not in str(error.value)
