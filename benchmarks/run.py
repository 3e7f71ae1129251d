"""Runs the benchmarks and prints figures and ratios; see README.md."""

from __future__ import annotations

import argparse
import compileall
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import database_cases
import generate
import target_cases
from measuring import BIN, DATA, HERE, Figure, measure, show

JOB = """\
tenant_id: {tenant}
source_connector: csv
target_connector: iceberg
asset: orders
source:
  files:
    - {{path: {path}, object: orders}}
"""


def median(figures: list[Figure]) -> Figure:
    """Median of each figure."""
    return Figure(*(statistics.median(v) for v in zip(*((f.wall_s, f.cpu_s, f.peak_mb) for f in figures), strict=True)))


def project(directory: Path, jobs: int, data: str) -> None:
    """A project with so many jobs in ten tenants, all of one contract."""
    (directory / "assets/csv/v1.0").mkdir(parents=True)
    (directory / "assets/csv/v1.0/orders.yaml").write_text(generate.CONTRACT)
    for i in range(jobs):
        tenant = f"tenant{i % 10}"
        file = directory / f"jobs/{tenant}/orders_{i:04d}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(JOB.format(tenant=tenant, path=data))


def compile_case(work: Path, _rows: int) -> None:
    """1,000 jobs."""
    root = work / "compile"
    project(root, 1000, "data/*.csv")
    dativo = [str(BIN / "dativo"), "compile", "jobs/"]
    figure = median([measure(dativo, root) for _ in range(3)])
    show("dativo compile, 1,000 jobs", figure, "(wanted: <= 2 s)")


def idle_case(work: Path, _rows: int) -> None:
    """A run with nothing to do, beside a Meltano run without tasks."""
    for jobs in (1, 300):
        root = work / f"idle{jobs}"
        project(root, jobs, "data/orders.csv")
        generate.csv_file(root / "data/orders.csv", 1000)
        measure([str(BIN / "dativo"), "compile", "jobs/"], root)
        text = (
            (root / "meltano.yml").read_text().replace("\njobs:\n", "\njobs:\n- name: without-tasks\n  tasks: []\n", 1)
        )
        (root / "meltano.yml").write_text(text)
        run = [str(BIN / "dativo"), "run", "--config", "jobs/tenant0/orders_0000.yaml"]
        measure(run, root)
        pairs = [(measure(run, root), measure([str(BIN / "meltano"), "run", "without-tasks"], root)) for _ in range(5)]
        ratio = statistics.median(a.wall_s / b.wall_s for a, b in pairs)
        show(f"meltano run without tasks, {jobs} jobs", median([b for _, b in pairs]))
        show(
            f"dativo run with nothing to do, {jobs} jobs",
            median([a for a, _ in pairs]),
            f"ratio {ratio:.2f} (wanted: <= 1.7)",
        )


def csv_case(work: Path, rows: int) -> None:
    """CSV to a table, beside CSV to Parquet by hand."""
    source = DATA / f"orders-{rows}.csv"
    if not source.exists():
        generate.csv_file(source, rows)
    rates: dict[str, list[float]] = {"plain": [], "tuned": []}
    for i in range(3):
        root = work / f"csv{i}"
        project(root, 1, str(source))
        ours = measure([str(BIN / "dativo"), "run", "--config", "jobs/tenant0/orders_0000.yaml"], root)
        show(f"dativo run, {rows:,} rows", ours, f"{rows / ours.wall_s / 1000:.0f}k rows/s")
        for kind, found in rates.items():
            command = [sys.executable, str(HERE / "floor_csv.py"), str(source), str(work / "floor.parquet"), kind]
            floor = measure(command, HERE)
            show(f"pyarrow.csv -> {kind} Parquet, {rows:,} rows", floor, f"{rows / floor.wall_s / 1000:.0f}k rows/s")
            found.append(floor.wall_s / ours.wall_s)
        shutil.rmtree(root)
    for kind, found in rates.items():
        print(
            f"  rate against {kind} Parquet by hand: {statistics.median(found):.2f} (wanted: >= 0.6; memory <= 400 MB)"
        )


def nessie_case(work: Path, rows: int) -> None:
    """CSV to a table on Nessie with its files in an S3 server, and to a folder there, beside the embedded catalog."""
    sys.path.insert(0, str(HERE.parent / "tests/services"))
    import servers  # standard library, but only this case needs it

    found = servers.running("bench")
    variables = {
        "S3_ENDPOINT": found.s3,
        "S3_KEY": found.access_key,
        "S3_SECRET": found.secret_key,
        "NESSIE_URI": found.nessie,
    }
    s3 = (
        "{endpoint: '${S3_ENDPOINT}', region: us-east-1, access_key_id: '${S3_KEY}', secret_access_key: '${S3_SECRET}'}"
    )
    source = DATA / f"orders-{rows}.csv"
    if not source.exists():
        generate.csv_file(source, rows)
    places = {
        "embedded": "",
        "nessie": f"target: {{connection: {{nessie: {{uri: '${{NESSIE_URI}}'}}, s3: {s3}}}}}\n",
        "folder": f"target: {{connection: {{s3: {{bucket: {found.bucket}, prefix: bench, {s3[1:]}}}}}\n",
    }
    figures: dict[str, list[Figure]] = {name: [] for name in places}
    try:
        for turn in range(3):
            for name, said in places.items():
                root = work / f"{name}{turn}"
                project(root, 1, str(source))
                (root / "jobs/tenant0").rename(root / f"jobs/{name}{turn}")
                job, secrets = root / f"jobs/{name}{turn}/orders_0000.yaml", root / f"secrets/{name}{turn}/.env"
                secrets.parent.mkdir(parents=True)
                secrets.write_text("".join(f"{k}={v}\n" for k, v in variables.items()))
                text = job.read_text().replace("tenant0", f"{name}{turn}") + said
                job.write_text(text.replace("connector: iceberg", "connector: s3") if name == "folder" else text)
                run = [str(BIN / "dativo"), "run", "--config", str(job.relative_to(root))]
                figures[name].append(measure(run, root))
                shutil.rmtree(root)
    finally:
        servers.stop("bench")
    base = median(figures["embedded"])
    show(f"csv {rows:,} rows, embedded catalog, local files", base)
    for name, wanted in (("nessie", "wanted: >= 0.8"), ("folder", "for comparison")):
        figure = median(figures[name])
        show(
            f"csv {rows:,} rows, {name}, S3 server",
            figure,
            f"rate {base.wall_s / figure.wall_s:.2f} of embedded ({wanted})",
        )


CASES = {
    "compile": compile_case,
    "idle": idle_case,
    "csv": csv_case,
    "nessie": nessie_case,
    **database_cases.CASES,
    **target_cases.CASES,
}


def main() -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=CASES, action="append")
    parser.add_argument("--rows", type=int, help="2 M of CSV and 1 M of messages unless given")
    options = parser.parse_args()
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    # An installation from wheels is compiled; a checkout may never be, where the environment says PYTHONDONTWRITEBYTECODE.
    root = DATA.parent.parent
    for place in (root / "src", *root.glob("*/src"), *root.glob("taps/*/src")):
        compileall.compile_dir(place, quiet=2)
    print(
        f"python {sys.version.split()[0]}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}, open files {limit[0]}"
    )
    with tempfile.TemporaryDirectory(prefix="dativo-bench-", dir=DATA.parent) as work:
        for name in options.only or CASES:
            print(name)
            usual = 1_000_000 if name in target_cases.CASES else 2_000_000
            CASES[name](Path(work), options.rows or usual)


if __name__ == "__main__":
    DATA.mkdir(exist_ok=True)
    main()
