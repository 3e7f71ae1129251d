"""Every default of writing stands explicitly in the load plan."""

from __future__ import annotations

from typing import Any

import pytest

from dativo.config.model.contract import ContractTarget
from dativo.config.model.policy import Policy
from dativo.config.model.resolved import Incremental, SourceObject
from dativo.config.policies import applied
from dativo.lower.load_plan import fingerprint, lower, notices
from target_iceberg import load_plan
from target_iceberg.load_plan import Column


def objects(contract: Any, **selection: Any) -> tuple[SourceObject, ...]:
    return (SourceObject(name="orders", contract=contract, selection=selection),)


@pytest.mark.parametrize(
    ("strategy", "key", "chosen", "expected"),
    [
        ("full_refresh", ("order_id",), None, "replace"),
        ("full_refresh", (), None, "replace"),
        ("updated_at", ("order_id",), None, "upsert"),
        ("file_modified_time", ("order_id",), None, "upsert"),
        ("file_modified_time", (), None, "append"),
        ("file_modified_time", ("order_id",), "append", "append"),
    ],
)
def test_the_write_mode_follows_strategy_and_key_unless_the_job_says_it(
    make_job: Any, make_contract: Any, strategy: str, key: tuple[str, ...], chosen: str | None, expected: str
) -> None:
    job = make_job(
        source__incremental=Incremental(strategy=strategy),
        source__objects=objects(make_contract(key=key)),
        target__write_mode=chosen,
    )
    assert lower(job).streams[0].write_mode == expected


def test_rows_of_files_carry_their_origin_and_a_changed_file_replaces_its_own(make_job: Any) -> None:
    stream = lower(make_job()).streams[0]
    assert stream.replace_files
    assert [c.name for c in stream.columns[-2:]] == ["_sdc_source_file", "_sdc_source_lineno"]
    assert not any(c.required for c in stream.columns[-2:])


def test_rows_of_a_database_carry_no_file(make_database_job: Any) -> None:
    stream = lower(make_database_job()).streams[0]
    assert not stream.replace_files
    assert [c.name for c in stream.columns] == ["order_id", "amount", "ordered_at"]


@pytest.mark.parametrize(
    ("said", "domain", "expected"),
    [(None, "shop", ("shop",)), (None, None, ("csv",)), ("raw.eu", "shop", ("raw", "eu"))],
)
def test_the_namespace_is_the_jobs_word_then_the_domain_then_the_source(
    make_job: Any, make_contract: Any, said: str | None, domain: str | None, expected: tuple[str, ...]
) -> None:
    job = make_job(target__namespace=said, source__objects=objects(make_contract(domain=domain)))
    assert lower(job).streams[0].namespace == expected


def test_without_a_connection_the_tenant_has_an_embedded_lake(make_job: Any) -> None:
    assert lower(make_job()).catalog == load_plan.LakeCatalog(kind="embedded", path="lake/demo")


def test_nessie_gives_the_tenant_a_branch(make_job: Any) -> None:
    job = make_job(
        target__connection={"nessie": {"uri": "${NESSIE_URI}"}, "s3": {"bucket": "b", "endpoint": "http://s"}}
    )
    catalog = lower(job).catalog
    assert (catalog.kind, catalog.branch) == ("nessie", "demo")
    assert catalog.properties == {"uri": "${NESSIE_URI}", "s3.endpoint": "http://s"}


def test_a_shared_catalog_keeps_tenants_apart_by_namespace(make_job: Any) -> None:
    plan = lower(make_job(target__connection={"catalog": {"type": "rest", "uri": "http://c", "name": "prod"}}))
    assert plan.catalog.name == "prod"
    assert plan.streams[0].namespace == ("demo__shop",)


def test_an_object_store_without_a_lake_catalog_holds_the_files_of_the_embedded_lake(make_job: Any) -> None:
    job = make_job(target__connection={"s3": {"bucket": "b", "prefix": "raw", "endpoint": "http://s3:9000"}})
    catalog = lower(job).catalog
    assert (catalog.kind, catalog.path) == ("embedded", "lake/demo")
    assert catalog.properties == {"s3.endpoint": "http://s3:9000", "warehouse": "s3://b/raw/demo"}
    assert any("no lake catalog is named" in n for n in notices(job))


def test_a_warehouse_that_is_no_place_is_ignored_with_a_notice(make_job: Any) -> None:
    job = make_job(target__warehouse="main")
    assert lower(job).catalog.properties == {}
    assert any("target.warehouse main is ignored" in n for n in notices(job))


def test_two_tenants_have_two_state_ids(make_job: Any) -> None:
    assert lower(make_job()).state_id == "dativo:tap-csv--demo--orders-to-target-iceberg--demo--orders"
    assert lower(make_job(tenant="acme")).state_id != lower(make_job()).state_id


def test_a_wider_glob_keeps_the_bookmark_and_another_table_does_not(make_job: Any, make_database_job: Any) -> None:
    def of(job: Any, **selection: Any) -> str:
        return fingerprint(
            job, SourceObject(name="orders", contract=job.source.objects[0].contract, selection=selection)
        )

    assert of(make_job(), paths=["a.csv"]) == of(make_job(), paths=["*.csv"])
    assert of(make_database_job(), table="public.orders") != of(make_database_job(), table="old.orders")
    assert fingerprint(make_database_job(), make_database_job().source.objects[0]) != fingerprint(
        make_database_job(source__identity={"host": "other"}), make_database_job().source.objects[0]
    )


def test_what_lowering_leaves_out_is_said(make_job: Any, make_contract: Any) -> None:
    contract = make_contract(target=ContractTarget(partitioning=("day(ordered_at)", "ingest_date")))
    job = make_job(target__branch="main", source__objects=objects(contract))
    assert [n.split()[0] for n in notices(job)] == ["target.branch"]


def test_a_table_may_be_partitioned_by_the_day_of_the_run(make_job: Any, make_contract: Any) -> None:
    contract = make_contract(target=ContractTarget(partitioning=("day(ordered_at)", "ingest_date")))
    (stream,) = lower(make_job(source__objects=objects(contract))).streams
    assert stream.partition_by == ("day(ordered_at)", "ingest_date")
    assert stream.ingest_date
    assert [c.type for c in stream.columns if c.name == "ingest_date"] == ["date"]


def test_a_plan_survives_being_written_and_read(make_job: Any, make_database_job: Any, tmp_path: Any) -> None:
    for job in (make_job(), make_database_job()):
        file = tmp_path / "plan.json"
        file.write_bytes(load_plan.dump(lower(job)))
        assert load_plan.read(file) == lower(job)


def test_a_table_says_what_its_contract_says_of_it(make_job: Any, make_contract: Any) -> None:
    contract = make_contract(
        governance={"owner": "team-x", "contact": {"mail": "x@example.com"}},
        finops={"cost_center": "42", "tags": ["a", "b"]},
        compliance={"classification": "internal"},
        classification={"email": "PII"},
    )
    job = make_job(finops={"cost_center": "43"}, governance={"owner": "team-y"}, source__objects=objects(contract))
    properties = lower(job).streams[0].properties
    assert properties["asset.name"] == contract.name
    assert properties["asset.version"] == contract.version
    assert properties["governance.owner"] == "team-y"
    assert properties["governance.contact.mail"] == "x@example.com"
    assert properties["finops.cost_center"] == "43"
    assert properties["finops.tags"] == '["a", "b"]'
    assert properties["classification.default"] == "internal"
    assert properties["classification.fields"] == '{"email": "PII"}'


def test_the_policy_says_how_columns_are_masked(make_job: Any, make_contract: Any) -> None:
    contract = make_contract(
        columns=(
            Column(name="Email", type="string"),
            Column(name="card", type="string", classification="secret"),
            Column(name="open", type="string", classification="PUBLIC"),
            Column(name="o", type="struct", fields=(Column(name="email", type="string"),)),
        )
    )
    policy = Policy(
        pii_fields=["email"], masking={"pii": "hash", "SECRET": "redact", "PUBLIC": "none"}, masking_key="K"
    )
    plan = lower(applied(policy, make_job(source__objects=objects(contract))))
    masks = {c.name: (c.classification, c.mask) for c in plan.streams[0].columns if not c.name.startswith("_")}
    assert masks == {
        "Email": ("PII", "hash"),
        "card": ("secret", "redact"),
        "open": ("PUBLIC", None),
        "o": (None, None),
    }
    assert plan.streams[0].columns[3].fields[0].mask == "hash"
    assert plan.mask_key_env == "K"
    assert (
        lower(applied(Policy(pii_fields=["email"]), make_job(source__objects=objects(contract)))).mask_key_env is None
    )
