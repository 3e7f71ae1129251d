"""Jobs in every spelling, the cascade, and what lowering is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dativo.config.cascade import CASCADE, cascade
from dativo.config.model.resolved import ResolvedJob, Secret
from dativo.config.project import Project
from dativo.config.resolve import Resolver, load_jobs

MakeProject = Callable[[dict[str, str]], Project]

CONTRACT = """
    name: {name}
    version: "{version}"
    object: {object}
    schema:
      - {{name: id, type: bigint, required: true, primaryKey: true}}
      - {{name: status, type: string, enum: [a, b]}}
      - {{name: updated_at, type: timestamp}}
"""


def contract(name: str, version: str = "1.0", object_: str | None = None) -> str:
    return CONTRACT.format(name=name, version=version, object=object_ or name)


POSTGRES = """
    tenant_id: acme
    source_connector: postgres
    target_connector: iceberg
    asset: orders
    source:
      tables: [{name: public.orders, object: orders}]
"""


def only(project: Project) -> ResolvedJob:
    jobs, findings = load_jobs(project)
    assert findings == []
    assert len(jobs) == 1
    return jobs[0]


def test_a_csv_job_resolves_to_the_settings_of_tap_csv(project: MakeProject) -> None:
    job = only(
        project(
            {
                "jobs/acme/orders.yaml": """
                    source_connector: csv
                    target_connector: iceberg
                    asset: orders
                    source:
                      files:
                        - {path: /app/data/*.csv, object: orders, options: {delimiter: ";"}}
                        - {path: old.csv, object: orders}
                """,
                "assets/csv/v1.0/orders.yaml": contract("orders"),
            }
        )
    )
    assert (job.tenant, job.name, job.environment) == ("acme", "orders", "dev")
    assert job.source.plugin.executable == "tap-csv"
    assert job.source.settings["files"] == [
        {"path": "data/*.csv", "object": "orders", "delimiter": ";"},
        {"path": "old.csv", "object": "orders"},
    ]
    assert job.source.objects[0].selection["paths"] == ["data/*.csv", "old.csv"]
    assert job.source.incremental.strategy == "file_modified_time"
    assert job.target.connection == {}


def test_registry_is_below_recipe_is_below_job(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES
            + "      connection: {host: job-host}\n      incremental: {lookback_days: 2}\n",
            "connectors/sources/postgres.yaml": """
                type: postgres
                credentials: {username: DB_USER, password: "${DB_PASSWORD}"}
                connection_template: {host: recipe-host, port: 6432, sslmode: require}
                incremental: {lookback_days: 1, cursor_field: updated_at}
            """,
            "assets/postgres/v1.0/orders.yaml": contract("orders"),
        }
    )
    source = only(made).source
    assert source.settings["host"] == "job-host"
    assert source.settings["port"] == 6432
    assert source.settings["lookback_days"] == 2
    assert source.incremental.strategy == "updated_at"
    assert source.secrets == (
        Secret(setting="username", name="DB_USER"),
        Secret(setting="password", name="DB_PASSWORD"),
    )
    assert source.identity == {"host": "job-host", "port": 6432}


@pytest.mark.parametrize("row", CASCADE, ids=lambda r: r.value)
def test_each_value_comes_from_the_nearest_file_that_says_it(row: object) -> None:
    from dativo.config.cascade import Row

    assert isinstance(row, Row)
    said: dict[str, dict[str, object]] = {}
    for layer in ("registry", "recipe", "job"):
        path = getattr(row, layer)
        if path is None:
            continue
        value: object = {"who": layer} if row.merge == "deep" else layer
        for part in reversed(path.split(".")):
            value = {part: value}
        assert isinstance(value, dict)
        said[layer] = {"source": value} if layer == "job" else value
        values = cascade("source", said.get("registry", {}), said.get("recipe", {}), said.get("job", {}))
        assert values[row.value] == ({"who": layer} if row.merge == "deep" else layer)


def test_the_highest_version_counts_unless_the_job_pins_one(project: MakeProject) -> None:
    files = {
        "jobs/acme/orders.yaml": POSTGRES,
        "assets/postgres/v1.9/orders.yaml": contract("orders", "1.9"),
        "assets/postgres/v1.10/orders.yaml": contract("orders", "1.10"),
    }
    assert only(project(files)).source.objects[0].contract.version == "1.10"
    files["jobs/acme/orders.yaml"] = POSTGRES.replace("asset: orders", "asset: orders@1.9")
    assert only(project(files)).source.objects[0].contract.version == "1.9"


def test_a_contract_of_the_same_source_is_nearer_than_another_with_the_name(project: MakeProject) -> None:
    files = {
        "jobs/acme/orders.yaml": POSTGRES,
        "assets/postgres/v1.0/a.yaml": contract("orders"),
        "assets/stripe/v2.0/b.yaml": contract("orders", "2.0"),
    }
    assert only(project(files)).source.objects[0].contract.file == "assets/postgres/v1.0/a.yaml"


def test_other_objects_of_a_job_with_one_asset_are_looked_up(project: MakeProject) -> None:
    job = """
        source_connector: stripe
        target_connector: iceberg
        asset: pay_customers
        source: {objects: [invoices, customers], incremental: {strategy: created, cursor_field: updated_at}}
    """
    made = project(
        {
            "jobs/acme/pay.yaml": job,
            "assets/stripe/v1.0/customers.yaml": contract("pay_customers", object_="customers"),
            "assets/stripe/v1.0/invoices.yaml": contract("pay_invoices", object_="invoices"),
        }
    )
    found = {o.name: o.contract.name for o in only(made).source.objects}
    assert found == {"invoices": "pay_invoices", "customers": "pay_customers"}


def test_rules_carry_the_name_of_the_stream_they_judge(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES.replace("asset: orders", "assets: {web: shop_orders}").replace(
                "object: orders", "object: web"
            ),
            "assets/postgres/v1.0/orders.yaml": contract("shop_orders", object_="orders"),
        }
    )
    assert [r.name for r in only(made).source.objects[0].contract.rules] == ["web.status.enum"]


def test_a_job_overrides_classification_and_governance(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES
            + "    classification_overrides: {status: SENSITIVE}\n    governance_overrides: {retention_days: 30}\n",
            "assets/postgres/v1.0/orders.yaml": contract("orders"),
        }
    )
    found = only(made).source.objects[0].contract
    assert found.classification == {"status": "SENSITIVE"}
    assert [c.classification for c in found.columns] == [None, "SENSITIVE", None]
    assert found.retention_days == 30


def test_flat_and_grouped_target_connections_are_one(project: MakeProject) -> None:
    for connection in ("{endpoint: e, bucket: b, prefix: p}", "{s3: {endpoint: e, bucket: b, prefix: p}}"):
        made = project(
            {
                "jobs/acme/orders.yaml": POSTGRES + f"    target: {{connection: {connection}}}\n",
                "assets/postgres/v1.0/orders.yaml": contract("orders"),
            }
        )
        assert only(made).target.connection == {"s3": {"endpoint": "e", "bucket": "b", "prefix": "p"}}


def test_retry_rejects_logging_and_state_path_arrive(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES
            + """      incremental: {strategy: updated_at, state_path: /state/x.json}
    schema_validation_mode: warn
    max_rejected: "2.5%"
    logging: {redaction: false, level: DEBUG}
    catalog: {type: openmetadata}
    retry_config: {max_retries: 2, initial_delay_seconds: 1, retryable_exit_codes: [7], retryable_error_patterns: [x]}
""",
            "assets/postgres/v1.0/orders.yaml": contract("orders"),
        }
    )
    job = only(made)
    assert (job.violations, job.max_rejected_percent, job.max_rejected_rows) == ("warn", 2.5, None)
    assert (job.logging.redaction, job.logging.level, job.state_path) == (False, "DEBUG", "/state/x.json")
    assert (job.retry.max_retries, job.retry.exit_codes, job.retry.error_patterns) == (2, (7,), ("x",))
    assert "metadata catalogs" in job.notices[0]


def test_a_recipe_may_name_any_tap(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES,
            "connectors/sources/postgres.yaml": """
                type: postgres
                default_engine:
                  type: meltano
                  options:
                    tap_name: tap-postgres-other
                    pip_url: tap-postgres-other==1.2
                    meltano: {filter_schemas: [public]}
                    native: {ignored: true}
                credentials: {password: DB_PASSWORD}
            """,
            "assets/postgres/v1.0/orders.yaml": contract("orders"),
        }
    )
    source = only(made).source
    assert (source.plugin.executable, source.plugin.pip_url) == ("tap-postgres-other", "tap-postgres-other==1.2")
    assert not source.plugin.accepts_arrow
    assert source.settings == {"filter_schemas": ["public"]}


def test_a_connector_is_added_by_registry_and_recipe_alone(project: MakeProject) -> None:
    made = project(
        {
            "registry/connectors.yaml": """
                version: 3
                connectors:
                  ftp_json:
                    roles: [source]
                    category: files
                    engines_supported: [singer]
                    plugin: {name: tap-ftp, executable: tap-ftp, distribution: tap-ftp}
                    auth: {methods: [password], settings: {password: secret}}
                    supports_incremental: true
                    incremental_strategies: [file_modified_time, full_refresh]
                    incremental_strategy_default: file_modified_time
                    settings_from: {rate: rate_limits.requests_per_second, site: tenant}
                    connection_settings: {host: server}
                    identity: [server]
                    selection:
                      key: files
                      setting: feeds
                      item: {glob: "{path}", name: "{object}", kind: json, "*": "{options}"}
                      required: [path, object]
            """,
            "connectors/sources/partner.yaml": """
                type: ftp_json
                credentials: {type: password, from_env: PARTNER_PASSWORD}
                connection_template: {host: "${PARTNER_HOST}"}
                rate_limits: {requests_per_second: 3}
            """,
            "jobs/acme/feeds.yaml": """
                source_connector: partner
                target_connector: iceberg
                asset: orders
                source: {files: [{path: "in/*.json", object: orders, options: {lines: true}}]}
            """,
            "assets/ftp_json/v1.0/orders.yaml": contract("orders"),
        }
    )
    source = only(made).source
    assert source.plugin.name == "tap-ftp"
    assert source.secrets == (Secret(setting="secret", name="PARTNER_PASSWORD"),)
    assert source.identity == {"server": "${PARTNER_HOST}"}
    assert source.settings == {
        "server": "${PARTNER_HOST}",
        "rate": 3,
        "site": "acme",
        "feeds": [{"glob": "in/*.json", "name": "orders", "kind": "json", "lines": True}],
    }


def test_a_recipe_alone_is_the_base_plugin(project: MakeProject) -> None:
    resolver = Resolver(
        project({"connectors/sources/x.yaml": "type: csv\ndefault_engine: {options: {encoding: latin-1}}\n"})
    )
    recipe = resolver.connectors.load(resolver.project.root / "connectors/sources/x.yaml", [])
    assert recipe is not None
    base = resolver.base(recipe, "source", [])
    assert (base.plugin.name, base.settings, base.secrets) == ("tap-csv", {"encoding": "latin-1"}, ())


def test_filters_choose_jobs_and_leave_other_tenants_mistakes_alone(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES,
            "jobs/globex/broken.yaml": "nonsense: true\n",
            "assets/postgres/v1.0/orders.yaml": contract("orders"),
        }
    )
    jobs, findings = load_jobs(made, tenant="acme")
    assert ([j.name for j in jobs], findings) == (["orders"], [])
    assert load_jobs(made, tenant="acme", job="order")[1][0].code == "DTV020"


def test_a_job_with_an_error_is_never_returned(project: MakeProject) -> None:
    made = project(
        {
            "jobs/acme/orders.yaml": POSTGRES + "    asset: orders\n",
            "jobs/acme/other.yaml": POSTGRES + "    unknown: 1\n",
            "assets/postgres/v1.0/orders.yaml": contract("orders"),
        }
    )
    jobs, findings = load_jobs(made)
    assert jobs == []
    assert sorted(f.code for f in findings) == ["DTV005", "DTV010"]
