"""Cases of target-iceberg: the lanes, bad records, many streams, upserts, each beside what it is compared with."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import generate_records
from measuring import DATA, HERE, Figure, measure, show

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "from target_iceberg.singer.main import main; main()"
REPEATS = 3


def messages(name: str, rows: int, **options: Any) -> Path:
    """A file of messages, made once."""
    path = DATA / f"{name}-{rows}.jsonl"
    if not path.exists():
        DATA.mkdir(exist_ok=True)
        generate_records.messages(path, rows, **options)
    return path


def load(root: Path, source: Path, plan: Any) -> Figure:
    """Load a file of messages into a fresh lake."""
    generate_records.write_plan(root, plan)
    return measure([sys.executable, "-c", TARGET, "--config", "config.json"], root, stdin=source, codes=(0,))


def best(figures: list[Figure]) -> Figure:
    """The least disturbed one."""
    return min(figures, key=lambda f: f.wall_s)


def records_case(work: Path, rows: int) -> None:
    """RECORD lines beside the floor."""
    source = messages("records", rows)
    ours, floors = [], []
    for i in range(REPEATS):
        ours.append(load(work / f"records{i}", source, generate_records.plan()))
        floors.append(
            measure([sys.executable, str(HERE / "floor_records.py"), str(source), str(work / "floor.parquet")], HERE)
        )
    show(
        f"target-iceberg, {rows:,} RECORDs",
        best(ours),
        f"{rows / best(ours).wall_s / 1000:.0f}k records/s (wanted: >= 450k)",
    )
    show("floor_records.py", best(floors), f"{rows / best(floors).wall_s / 1000:.0f}k records/s")
    cpu = statistics.median(o.cpu_s / f.cpu_s for o, f in zip(ours, floors, strict=True))
    print(
        f"  CPU against the floor: {cpu:.2f} (wanted: <= 1.25); memory {max(o.peak_mb for o in ours):.0f} MB (wanted: <= 350)"
    )


def shapes_case(work: Path, rows: int) -> None:
    """Other spacing, and 100 streams interleaved record by record, beside one stream."""
    one = best(
        [load(work / f"one{i}", messages("records", rows), generate_records.plan(rules=False)) for i in range(REPEATS)]
    )
    show("one stream", one)
    spaced = messages("spaced", rows, spaced=True)
    other = best([load(work / f"spaced{i}", spaced, generate_records.plan(rules=False)) for i in range(REPEATS)])
    show("spaces between tokens", other, f"{one.wall_s / other.wall_s:.2f} of the rate")
    many = messages("streams", rows, streams=100)
    names = [f"orders{i}" for i in range(100)]
    hundred = best([load(work / f"many{i}", many, generate_records.plan(*names, rules=False)) for i in range(REPEATS)])
    show("100 streams interleaved", hundred, f"{one.wall_s / hundred.wall_s:.2f} of the rate (wanted: >= 0.6)")


def bad_case(work: Path, rows: int) -> None:
    """Bad records among good ones."""
    clean = best([load(work / f"clean{i}", messages("records", rows), generate_records.plan()) for i in range(REPEATS)])
    show("no bad record", clean)
    for every, wanted in ((10_000, 0.8), (100, 0.4)):
        source = messages(f"bad{every}", rows, bad_every=every)
        bad = best([load(work / f"bad{every}-{i}", source, generate_records.plan()) for i in range(REPEATS)])
        show(f"one bad record in {every:,}", bad, f"{clean.wall_s / bad.wall_s:.2f} of the rate (wanted: >= {wanted})")


def batch_case(work: Path, rows: int) -> None:
    """Arrow IPC batches."""
    figures = []
    for i in range(REPEATS):
        source = generate_records.batches(work / f"arrow{i}", rows)  # the target removes what it has read
        figures.append(load(work / f"batch{i}", source, generate_records.plan()))
    ours = best(figures)
    show(f"target-iceberg, {rows:,} rows by BATCH", ours, f"{rows / ours.wall_s / 1e6:.2f} M rows/s (wanted: >= 1.5)")


def upsert_case(work: Path, rows: int) -> None:
    """20,000 keys spread over a table."""
    script = HERE / "upsert.py"
    for n, files, wanted in ((2_000_000, 4, "0.5 s"), (max(rows, 2_000_000) * 10, 40, "3 s and 400 MB at 20 M rows")):
        done = subprocess.run(
            [sys.executable, str(script), str(work / f"lake{n}"), str(n), str(files)],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(done.stderr)
        print(f"  {done.stdout.strip()}  (wanted: <= {wanted})", flush=True)


def wide_case(work: Path, rows: int) -> None:
    """500 columns, beside 10 with as many bytes; and one record of 10 MB."""
    total = rows // 100
    figures = {}
    for columns in (10, 500):
        source = DATA / f"wide{columns}-{total}.jsonl"
        n = total * 500 // columns
        if not source.exists():
            generate_records.wide_messages(source, n, columns)
        runs = [load(work / f"wide{columns}-{i}", source, generate_records.wide_plan(columns)) for i in range(REPEATS)]
        figures[columns] = best(runs), source.stat().st_size / 1e6
        figure, size = figures[columns]
        show(f"{n:,} records of {columns} columns, {size:.0f} MB", figure, f"{size / figure.wall_s:.0f} MB/s")
    (few, few_mb), (many, many_mb) = figures[10], figures[500]
    print(
        f"  500 columns go at {many_mb / many.wall_s / (few_mb / few.wall_s):.2f} of the bytes per second of 10 columns"
    )
    source = DATA / "huge.jsonl"
    generate_records.huge_message(source, 10_000_000)
    show("one record of 10 MB", load(work / "huge", source, generate_records.wide_plan(2)))


def parquet_case(work: Path, rows: int) -> None:
    """Parquet settings decided from the first rows, beside pyarrow's own; and sizes of files."""
    script = HERE / "parquet_settings.py"
    done = subprocess.run([sys.executable, str(script), str(rows)], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    print(done.stdout, end="", flush=True)
    plan = generate_records.plan(rules=False, target_file_size_bytes=8 << 20)
    root = work / "sizes"
    load(root, messages("records", rows), plan)
    sizes = sorted(f.stat().st_size / (8 << 20) for f in root.rglob("data/*.parquet"))
    full = sizes[1:]  # the last file holds what was left
    print(
        f"  {len(sizes)} files of {full[0]:.2f} to {full[-1]:.2f} of the wanted 8 MB, the last {sizes[0]:.2f} (wanted: 0.8 to 1.2)"
    )


CASES = {
    "records": records_case, "batch": batch_case, "bad": bad_case, "shapes": shapes_case, "upsert": upsert_case,
    "wide": wide_case, "parquet": parquet_case,
}  # fmt: skip
