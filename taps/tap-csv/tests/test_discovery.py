"""What --discover says of files that no contract describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from tap_csv.infer import infer_type
from tap_csv.tap import TapCSV
from tap_kit.errors import TapError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def discover(tmp_path: Path, **entry: Any) -> dict[str, Any]:
    config = {"base_path": str(tmp_path), "files": [{"path": "*.csv", "object": "orders", **entry}]}
    return TapCSV(config=config).catalog_dict["streams"][0]


@pytest.mark.parametrize(
    ("texts", "word"),
    [
        (["1", "-2", " 3 "], "long"),
        (["1", "2.5", "1e3"], "double"),
        (["0", "1"], "long"),
        (["007", "1"], "string"),
        (["00.5", "1.5"], "string"),
        (["9223372036854775808"], "double"),
        (["nan"], "string"),
        (["0x10"], "string"),
        (["true", "False"], "boolean"),
        (["yes", "no"], "string"),
        (["2024-01-02", "2024-02-30"], "string"),
        (["2024-01-02", ""], "date"),
        (["2024-01-02T03:04:05Z", "2024-01-02 03:04"], "timestamptz"),
        (["2024-01-02", "2024-01-02 03:04"], "string"),
        (["03:04:05"], "time"),
        (["", None], "string"),
        ([], "string"),
        (["1", "a"], "string"),
    ],
)
def test_the_narrowest_type_that_all_texts_have_is_inferred(texts: list[str | None], word: str) -> None:
    assert infer_type(pa.chunked_array([pa.array(texts, pa.string())])) == word


def test_properties_have_type_format_and_whether_a_null_was_seen(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,at\n1,,2024-01-02\n2,b,2024-01-03\n")
    schema = discover(tmp_path)["schema"]
    assert schema["properties"]["id"] == {
        "type": ["integer", "null"], "x-dativo-type": "long", "x-dativo-nulls-seen": False,
    }  # fmt: skip
    assert schema["properties"]["at"]["format"] == "date"
    assert schema["properties"]["name"]["x-dativo-nulls-seen"] is True
    assert list(schema["properties"])[-2:] == ["_sdc_source_file", "_sdc_source_lineno"]
    assert schema["x-dativo-records-sampled"] == 2


def test_keys_are_suggested_only_when_they_are_configured(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n1,a\n")
    assert discover(tmp_path)["key_properties"] == []
    entry = discover(tmp_path, keys=["id"])
    assert (entry["key_properties"], entry["schema"]["required"]) == (["id"], ["id"])


def test_columns_of_all_files_are_found_and_one_that_a_file_lacks_may_be_null(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,x\n1,1\n")
    (tmp_path / "b.csv").write_text("y,id\n2,2\n")
    (tmp_path / "c.csv").write_text("")
    properties = discover(tmp_path)["schema"]["properties"]
    assert list(properties)[:3] == ["id", "x", "y"]
    assert [properties[name]["x-dativo-nulls-seen"] for name in ("id", "x", "y")] == [False, True, True]


def test_only_the_first_records_are_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n" + "1\n" * 10_000 + "x\n")
    (tmp_path / "b.csv").write_text("id\nx\n")
    schema = discover(tmp_path)["schema"]
    assert schema["properties"]["id"]["x-dativo-type"] == "long"
    assert schema["x-dativo-records-sampled"] == 10_000


def test_empty_names_get_their_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(",b,\n1,2,3\n")
    assert list(discover(tmp_path)["schema"]["properties"])[:3] == ["c1", "b", "c3"]


@pytest.mark.parametrize("header", ["id,id", "id,_sdc_source_file"])
def test_names_that_cannot_be_columns_are_an_error(tmp_path: Path, header: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n1,2\n")
    with pytest.raises(TapError, match=r"a\.csv: "):
        discover(tmp_path)


def test_without_files_there_are_no_columns_but_those_of_the_tap(tmp_path: Path) -> None:
    assert list(discover(tmp_path)["schema"]["properties"]) == ["_sdc_source_file", "_sdc_source_lineno"]


def test_a_discovered_catalog_gives_the_same_run_as_none(sync: Callable[..., Any], lane: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name,at\n1,Ann,2024-01-02T03:04:05\n2,,\n")
    config = {"files": [{"path": "a.csv", "object": "orders", "keys": ["id"]}]}
    catalog = TapCSV(config=config).catalog_dict
    catalog["streams"][0]["metadata"] = [{"breadcrumb": [], "metadata": {"selected": True}}]
    given, inferred = sync(config, catalog, lane=lane), sync(config, lane=lane)
    assert given.rows == inferred.rows
    assert given.of("SCHEMA") == inferred.of("SCHEMA")


def test_a_stream_is_named_after_its_file_when_it_has_no_name(tmp_path: Path) -> None:
    for name in ("orders.csv.gz", "orders_*.csv", "orders-2024-??.csv"):
        config = {"files": [{"path": str(tmp_path / name)}]}
        assert next(iter(TapCSV(config=config, setup_mapper=False).streams)).startswith("orders")
