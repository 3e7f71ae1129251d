"""Whatever is killed, and whenever: after the next finished run every record of the files is in the table once."""

from __future__ import annotations

import contextlib
import csv
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.smoke
POINTS = int(os.environ.get("POINTS", "8"))
RUN = ("run", "--config", "jobs/demo/orders.yaml", "--log-format", "json")
COLUMNS = ("order_id", "status", "amount")
CONTRACT = """\
apiVersion: v3.0.2
kind: DataContract
id: orders
name: orders
version: "1.0.0"
status: active
domain: shop
schema:
  - {{name: order_id, type: bigint, required: true{key}}}
  - {{name: status, type: string}}
  - {{name: amount, type: "decimal(12,2)"}}
"""
JOB = """\
tenant_id: demo
source_connector: csv
target_connector: iceberg
asset: orders
source:
  files: [{path: "data/*.csv", object: orders}]
"""


class Shop:
    """A job whose files grow, and what its table must hold."""

    def __init__(self, project: Any, *, keyed: bool, seed: int) -> None:
        self.project, self.keyed, self.random = project, keyed, random.Random(seed)
        self.files: dict[str, list[tuple[int, str, str]]] = {}
        (project.root / "data").mkdir()
        (project.root / "assets/csv/v1.0/orders.yaml").write_text(
            CONTRACT.format(key=", primaryKey: true" if keyed else "")
        )
        (project.root / "jobs/demo/orders.yaml").write_text(JOB)
        (project.root / "jobs/demo/customers.yaml").unlink()

    def change(self) -> None:
        """A new file, or other records in one that is there."""
        name = (
            f"part-{len(self.files):03d}.csv"
            if not self.files or self.random.random() < 0.6
            else self.random.choice(sorted(self.files))
        )
        first = 10_000 * int(name[5:8])
        count = self.random.randrange(1, 3000)
        self.files[name] = [
            (first + i, self.random.choice("abc"), f"{self.random.randrange(10**6) / 100:.2f}") for i in range(count)
        ]
        partial = self.project.root / "data" / f".{name}"
        with partial.open("w", newline="") as f:
            csv.writer(f).writerows([COLUMNS, *self.files[name]])
        partial.replace(self.project.root / "data" / name)

    def expected(self) -> list[tuple[int, str, str]]:
        return sorted(r for rows in self.files.values() for r in rows)

    def actual(self) -> list[tuple[int, str, str]]:
        document = self.project.table("shop.orders")
        return sorted((r["order_id"], r["status"], f"{float(r['amount']):.2f}") for r in document["rows"])


def kill_at_random(shop: Shop, helpers: Any, longest_s: float) -> str:
    """Start a run and kill a part of it after a random while; says what was killed."""
    process = shop.project.start(*RUN)
    try:
        process.communicate(timeout=shop.random.uniform(0.05, longest_s))
    except subprocess.TimeoutExpired:
        family = {p: command(p) for p in {process.pid, *helpers.descendants(process.pid)}}
        part = shop.random.choice(["whole", "tap-csv", "target-iceberg", "meltano"])
        victims = [p for p, c in family.items() if part == "whole" or part in c] or [process.pid]
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=120)
        helpers.wait_until_gone(set(family))
        return part
    return "nothing"


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.mark.parametrize("keyed", [True, False], ids=["upsert", "append"])
def test_kills_lose_and_double_nothing(project: Any, helpers: Any, keyed: bool) -> None:
    seed = random.randrange(1 << 30)
    shop = Shop(project, keyed=keyed, seed=seed)
    shop.change()
    killed = []
    for _ in range(POINTS // 2):
        shop.change()
        killed.append(kill_at_random(shop, helpers, longest_s=3.5))
        if shop.random.random() < 0.3:
            killed.append(kill_at_random(shop, helpers, longest_s=3.5))
        project.run()
        assert shop.actual() == shop.expected(), f"seed {seed}, killed {killed}"


def test_two_runs_of_one_job_from_two_checkouts_of_its_state_publish_once(project: Any, helpers: Any) -> None:
    """Locks are per machine; compare-and-set in the table holds where locks do not reach."""
    shop = Shop(project, keyed=False, seed=1)
    for _ in range(3):
        shop.change()
    twin = project.root.parent / "twin"
    project.run()
    shop.change()
    import shutil

    shutil.copytree(project.root, twin, ignore=shutil.ignore_patterns("lake", "state"))
    (twin / "lake").symlink_to(project.root / "lake")
    second = type(project)(twin)
    runs = [p.start(*RUN) for p in (project, second)]
    codes = []
    for process in runs:
        process.communicate(timeout=240)
        codes.append(process.returncode)
    assert sorted(codes) in ([0, 0], [0, 2])  # one after the other, or one overtaken
    assert shop.actual() == shop.expected()
