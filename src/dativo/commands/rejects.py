"""`dativo rejects`: records that broke their contract, what became of them, and loading them after all."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from dativo.commands.output import print_json, print_table
from dativo.commands.state import loaded
from dativo.errors import DativoError
from dativo.runtime.lake_access import lake_problems

if TYPE_CHECKING:
    from pathlib import Path

    from target_iceberg.lake import Reject


@dataclass(frozen=True)
class Selection:
    """Which rejects are meant; nothing given means all."""

    stream: str | None = None
    rule: str | None = None
    run: str | None = None
    ids: tuple[str, ...] = ()
    status: str | None = None

    def takes(self, reject: Reject) -> bool:
        """Whether a reject is among them."""
        return (
            self.stream in (None, reject.stream)
            and self.rule in (None, reject.rule)
            and self.run in (None, reject.run_id)
            and self.status in (None, reject.status)
            and (not self.ids or reject.id in self.ids)
        )


def list_rejects(job: str, chosen: Selection, *, output_format: str) -> int:
    """Print how many rejects there are by table, rule, run and status."""
    from target_iceberg.lake import rejects

    plan = loaded(job).plan
    counts: Counter[tuple[str, ...]] = Counter()
    with lake_problems():
        for r in rejects(plan, chosen.stream):
            if chosen.takes(r):
                counts[r.table, r.rule, r.run_id, r.status] += 1
    rows = [
        {"table": table, "rule": rule, "run": run, "status": status, "records": n}
        for (table, rule, run, status), n in sorted(counts.items())
    ]
    if output_format == "json":
        print_json(rows)
    elif rows:
        print_table("Rejects", rows)
    else:
        click.echo("no rejects")
    return 0


def show_rejects(job: str, chosen: Selection, *, limit: int, output_format: str) -> int:
    """Print rejects with reason and record."""
    from target_iceberg.lake import rejects

    plan = loaded(job).plan
    with lake_problems():
        found = [r for r in rejects(plan, chosen.stream) if chosen.takes(r)][:limit]
    if output_format == "json":
        print_json([_as_dict(r) for r in found])
        return 0
    for r in found:
        place = f"{r.source_file}, record {r.source_record}" if r.source_file else f"run {r.run_id}"
        click.echo(f"{r.id or '-'}  {r.status}  {r.rule}: {r.message}  ({place})")
        click.echo(f"  {r.record}")
        if r.not_replayable is not None and r.status == "open":
            click.echo(f"  cannot be replayed: {r.not_replayable}")
    if not found:
        click.echo("no rejects")
    return 0


def replay_rejects(job: str, chosen: Selection, *, corrections: Path | None, dry_run: bool, output_format: str) -> int:
    """Load open rejects that now keep the contract; 1 when some of those that were asked for stay open."""
    from dativo.runtime.locks import job_lock
    from target_iceberg.lake import rejects, replay
    from target_iceberg.run_report import new_run_id

    at = loaded(job, needs="replay")
    changes = {} if corrections is None else read_corrections(corrections)
    with lake_problems():
        unknown = sorted(changes.keys() - {r.id for r in rejects(at.plan)}) if changes else []
    if unknown:
        raise DativoError(
            f"{corrections}: no reject has the id {', '.join(unknown)}", f"take ids from: dativo rejects show {job}"
        )
    wanted = chosen.takes
    if changes and not chosen.ids:
        wanted = Selection(chosen.stream, chosen.rule, chosen.run, tuple(changes)).takes
    label, key_name = f"{at.plan.tenant}/{at.plan.job}", at.plan.mask_key_env
    key = None if key_name is None else at.variables[key_name].encode()
    with job_lock(at.root / at.plan.state_dir / ".lock", job=label, run_id=new_run_id()), lake_problems():
        done = [asdict(r) for r in replay(at.plan, wanted, changes, mask_key=key, dry_run=dry_run)]
    if output_format == "json":
        print_json(done)
    for r in done if output_format != "json" else ():
        click.echo(_told(r, dry_run=dry_run))
    return 1 if any(r["still_broken"] or r["left_out"] for r in done) else 0


def read_corrections(file: Path) -> dict[str, dict[str, Any]]:
    """Corrections as JSON lines: {"id": "<reject id>", "set": {"<field>": <value>}}.

    Raises:
        DativoError: names every line that is none.
    """
    found: dict[str, dict[str, Any]] = {}
    wrong = []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise DativoError(f"{file}: cannot be read: {e}", "give a file of JSON lines") from e
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            found[entry["id"]] = dict(entry["set"])
        except (ValueError, KeyError, TypeError):
            wrong.append(number)
    if wrong:
        raise DativoError(
            f"{file}: no correction in line {', '.join(map(str, wrong))}",
            'write one per line: {"id": "<reject id>", "set": {"<field>": <value>}}',
        )
    return found


def _told(done: dict[str, Any], *, dry_run: bool) -> str:
    parts = [f"{done['published']} {'would be published' if dry_run else 'published'}"]
    if done["completed"]:
        parts.append(f"{done['completed']} of an earlier replay marked")
    if done["superseded"]:
        parts.append(f"{done['superseded']} superseded by a later one of the same key")
    if done["newer"]:
        parts.append(f"{done['newer']} left out because the table has a newer row of the key")
    parts += [f"{n} still break {rule}" for rule, n in done["still_broken"].items()]
    parts += [f"{n} left out: {why}" for why, n in done["left_out"].items()]
    return f"{done['stream']}: {'; '.join(parts)}"


def _as_dict(reject: Reject) -> dict[str, Any]:
    return {k: v.isoformat() if isinstance(v, dt.datetime) else v for k, v in asdict(reject).items()}
