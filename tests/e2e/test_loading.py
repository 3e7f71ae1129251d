"""From files to rows through `dativo run`: once, again, changed, broken, forgotten."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.smoke
HEADER = "order_id,customer_id,ordered_at,status,items,amount,currency,coupon\n"


def line(order_id: int, status: str = "paid", amount: str = "10.00") -> str:
    return f"{order_id},C0001,2025-03-01T00:00:00Z,{status},1,{amount},EUR,\n"


def write(project: Any, name: str, *lines: str) -> Path:
    file = project.root / "examples/orders" / name
    file.write_text(HEADER + "".join(lines))
    return file


@pytest.fixture
def small(project: Any) -> Any:
    """The demo with two files of two orders each."""
    for file in (project.root / "examples/orders").glob("*.csv"):
        file.unlink()
    write(project, "a.csv", line(1), line(2))
    write(project, "b.csv", line(3), line(4))
    return project


def ids(project: Any) -> list[int]:
    return sorted(row["order_id"] for row in project.table("shop.orders")["rows"])


def warn(project: Any) -> None:
    job = project.root / "jobs/demo/orders.yaml"
    job.write_text(job.read_text().replace("schema_validation_mode: strict", "schema_validation_mode: warn"))


def test_a_content_digest_is_kept_up_and_verified(small: Any) -> None:
    job = small.root / "jobs/demo/orders.yaml"
    job.write_text(job.read_text() + "target:\n  content_digest: true\n")
    small.run()
    write(small, "b.csv", line(3, status="placed"), line(5))
    small.run()
    said = small.dativo("table", "verify", "demo/shop.orders").stdout
    assert "4 rows: their content digest is that of the receipt" in said


def test_status_shows_the_files_of_each_table(small: Any) -> None:
    assert "no tables yet" in small.dativo("status", "--files").stdout
    small.run()
    (row,) = json.loads(small.dativo("status", "--files", "--format", "json").stdout)
    assert (row["table"], row["files"], row["snapshots"]) == ("demo/shop.orders", 1, 1)
    assert row["average_bytes"] == row["smallest_bytes"] > 0
    assert "kB" in small.dativo("status", "--files").stdout


def test_the_demo_lands_in_its_tables(project: Any) -> None:
    done = project.dativo("run", "--job-dir", "jobs/demo", "--log-format", "text")
    assert "published 345 rows to shop.orders" in done.stderr
    table = project.table("shop.orders")
    assert table["records"] == 345
    assert {c["name"]: c["type"] for c in table["schema"]}["amount"] == "decimal(12, 2)"
    listed = json.loads(project.dativo("table", "list", "--format", "json").stdout)
    assert {t["table"]: t["rows"] for t in listed} == {"demo/shop.customers": 120, "demo/shop.orders": 345}


def test_nothing_new_makes_no_snapshot(small: Any) -> None:
    small.run()
    before = small.table("shop.orders")["snapshot"]["id"]
    assert small.run()["outcome"] == "unchanged"
    assert small.table("shop.orders")["snapshot"]["id"] == before


def test_a_new_file_alone_is_read_and_a_changed_one_replaces_its_rows(small: Any) -> None:
    small.run()
    write(small, "c.csv", line(5))
    assert small.run()["read"] == 1
    assert ids(small) == [1, 2, 3, 4, 5]
    write(small, "b.csv", line(4), line(6))
    assert small.run()["read"] == 2
    assert ids(small) == [1, 2, 4, 5, 6]


def test_a_vanished_file_is_reported_and_its_rows_stay(small: Any, helpers: Any) -> None:
    small.run()
    (small.root / "examples/orders/b.csv").unlink()
    done = small.dativo("run", "--config", "jobs/demo/orders.yaml", "--log-format", "json")
    assert "file_vanished" in {e["event_type"] for e in helpers.events(done.stderr)}
    assert ids(small) == [1, 2, 3, 4]


def test_one_bad_record_withholds_everything_and_says_what_to_do(small: Any) -> None:
    write(small, "c.csv", line(5), line(6, status="lost"))
    done = small.dativo("run", "--config", "jobs/demo/orders.yaml", "--log-format", "text", code=2)
    for said in ("orders.status.enum", "dativo table show demo/shop.orders__rejects", "schema_validation_mode: warn"):
        assert said in done.stderr
    rejects = small.table("shop.orders__rejects")["rows"]
    assert [(r["rule"], r["source_file"], r["source_record"]) for r in rejects] == [
        ("orders.status.enum", "examples/orders/c.csv", 3)
    ]
    listed = json.loads(small.dativo("table", "list", "--format", "json").stdout)
    assert {t["table"]: t["rows"] for t in listed}.get("demo/shop.orders", 0) == 0


def test_in_warn_mode_the_good_records_are_published(small: Any) -> None:
    warn(small)
    write(small, "c.csv", line(5), line(6, status="lost"))
    last = small.run(code=1)
    assert (last["outcome"], last["published"], last["rejected"]) == ("partial", 5, 1)
    assert ids(small) == [1, 2, 3, 4, 5]


def test_a_dry_run_publishes_nothing_and_tells_what_it_would(small: Any) -> None:
    last = small.run("orders", "--dry-run")
    assert (last["outcome"], last["exit_code"]) == ("dry_run", 0)
    assert json.loads(small.dativo("table", "list", "--format", "json").stdout) == []
    assert small.run()["published"] == 4


def test_a_full_refresh_reads_everything_again_without_doubling(small: Any) -> None:
    small.run()
    assert small.run("orders", "--full-refresh")["read"] == 4
    assert ids(small) == [1, 2, 3, 4]
    assert small.run()["outcome"] == "unchanged"


def test_a_forgotten_bookmark_is_read_again(small: Any) -> None:
    small.run()
    shown = json.loads(small.dativo("state", "show", "demo/orders", "--format", "json").stdout)
    assert shown["orders"]["n"] == 1
    assert "forgotten" in small.dativo("state", "reset", "demo/orders", "--yes").stdout
    assert small.run()["read"] == 4
    assert ids(small) == [1, 2, 3, 4]


def test_a_contract_that_no_longer_fits_the_table_is_refused_before_anything_is_read(small: Any, helpers: Any) -> None:
    small.run()
    contract = small.root / "assets/csv/v1.0/orders.yaml"
    text = contract.read_text().replace("    minimum: 0\n", "").replace("type: decimal(12,2)", "type: string")
    contract.write_text(text)
    done = small.dativo("run", "--config", "jobs/demo/orders.yaml", "--log-format", "json", code=2)
    log = helpers.events(done.stderr)
    assert log[-1]["failure_class"] == "evolution"
    assert "amount" in log[-1]["message"]
    assert not [e for e in log if e.get("component") == "tap"]


def test_a_full_disk_publishes_nothing_and_says_so(small: Any) -> None:
    warn(small)
    write(small, "big.csv", *(line(n, amount=f"{n}.11") for n in range(10, 60_000)))
    command = [sys.executable, "-m", "dativo", "run", "--config", "jobs/demo/orders.yaml", "--log-format", "json"]

    def tiny_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (256 << 10, 256 << 10))

    done = subprocess.run(
        command,
        cwd=small.root,
        env=small.environment,
        preexec_fn=tiny_disk,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert json.loads(done.stderr.splitlines()[-1])["outcome"] == "failed"
    (small.root / "examples/orders/big.csv").unlink()
    small.run()
    assert ids(small) == [1, 2, 3, 4]


def test_plain_meltano_runs_what_was_compiled_and_shares_the_bookmark(small: Any) -> None:
    small.dativo("compile")
    meltano = shutil.which("meltano", path=small.environment["PATH"])
    assert meltano is not None
    done = subprocess.run(
        [meltano, "run", "demo-orders"],
        cwd=small.root,
        env=small.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ids(small) == [1, 2, 3, 4]
    assert small.run()["outcome"] == "unchanged"


def test_plain_meltano_runs_the_base_pair_on_the_example_data(project: Any) -> None:
    project.dativo("compile")
    command = [os.path.join(os.path.dirname(sys.executable), "meltano"), "run", "tap-csv", "target-iceberg"]  # noqa: PTH118, PTH120
    done = subprocess.run(
        command, cwd=project.root, env=project.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (project.root / "lake/default/catalog.db").exists()


def test_what_dead_runs_left_is_cleaned(small: Any) -> None:
    small.run()
    stray = small.root / "lake/demo/warehouse/shop/orders/data/stray.parquet"
    stray.write_bytes(b"left by a run that was killed")
    os.utime(stray, (0, 0))
    assert "would remove" in small.dativo("clean", "jobs/demo", "--dry-run").stdout
    assert stray.exists()
    assert "stray.parquet" in small.dativo("clean", "jobs/demo").stdout
    assert not stray.exists()
    assert ids(small) == [1, 2, 3, 4]


def test_contract_infer_writes_what_the_next_run_accepts(small: Any) -> None:
    shutil.rmtree(small.root / "assets")
    small.dativo("run", "--config", "jobs/demo/customers.yaml", code=2)
    done = small.dativo("contract", "infer", "demo/customers")
    assert "7 columns" in done.stdout
    assert small.run("customers")["published"] == 120
    small.dativo("contract", "infer", "demo/customers", code=2)


def test_a_changed_file_is_found_by_its_receipt(small: Any) -> None:
    small.run()
    done = small.dativo("table", "verify", "demo/shop.orders")
    assert "as its receipt says" in done.stdout
    (file,) = [p for p in (small.root / "lake").rglob("*.parquet") if "/orders/" in str(p)]
    whole = file.read_bytes()
    file.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    document = json.loads(small.dativo("table", "verify", "demo/shop.orders", "--format", "json", code=1).stdout)
    assert "at least one was changed" in document["problems"][0]
    assert document["files"] == 1


def test_a_relaxed_contract_takes_columns_that_it_does_not_name(small: Any) -> None:
    job = small.root / "jobs/demo/orders.yaml"
    job.write_text(job.read_text() + "target: {mode: relaxed}\n")
    write(small, "b.csv", line(3), line(4))
    small.run()
    wide = small.root / "examples/orders/c.csv"
    wide.write_text(HEADER.replace("\n", ",note,Status\n") + line(5).replace("\n", ",gift wrap,x\n"))
    small.run()
    table = small.table("shop.orders")
    assert {c["name"]: c["type"] for c in table["schema"]}["note"] == "string"
    assert "Status" not in {c["name"] for c in table["schema"]}
    assert {r["order_id"]: r["note"] for r in table["rows"]} == {1: None, 2: None, 3: None, 4: None, 5: "gift wrap"}
    write(small, "d.csv", line(6))
    small.run()
    assert len(small.table("shop.orders")["rows"]) == 6
    assert small.run()["outcome"] == "unchanged"
