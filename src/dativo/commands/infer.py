"""`dativo contract infer`: ask the source, and write down what it says as a contract to be read by a person."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import click

from dativo.config.odcs.columns import case_twins
from dativo.config.table_names import UNSAFE, is_pattern
from dativo.errors import DativoError
from dativo.lower import yaml_text
from dativo.lower.emit import write_atomic
from dativo.runtime.discovery import Discovery
from dativo.runtime.environment import job_environment
from dativo.runtime.inference import contract_of
from dativo.runtime.private_directory import private_directory
from target_iceberg.run_report import new_run_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from dativo.config.model.resolved import ResolvedJob

_KEPT = "there already, and left as they are; write them anew with --force"
_RENAME_TWINS = "exclude the table, or read it by a query that renames them"


def infer(job: str, *, object_name: str | None, secrets_dir: Path | None, force: bool) -> int:
    """Write a contract per object of the job.

    Raises:
        DativoError: the tap is missing or fails, an object is unknown, or a contract is there already.
    """
    from dativo.commands.loading import load_source

    root, resolved = load_source(job)
    names = [o.name for o in resolved.source.objects]
    if object_name is not None and object_name not in names:
        raise DativoError(f"{job}: has no object {object_name}", f"its objects: {', '.join(names)}")
    wanted = [object_name] if object_name is not None else names
    patterns = [name for name in wanted if is_pattern(name)]
    files = {name: contract_file(root, resolved, name) for name in wanted if name not in patterns}
    called: dict[str, str] = {}
    there = [name for name, file in files.items() if file.exists() and not force]
    if there:
        told = ", ".join(str(files.pop(name)) for name in there)
        if not files and not patterns:
            raise DativoError(f"{told}: there already", "choose one with --object, or overwrite with --force")
        click.echo(f"{told}: {_KEPT}")
    directory = (secrets_dir or root / "secrets").absolute()
    environment = job_environment(resolved, None, root=root, secrets_dir=directory, environ=os.environ)
    with private_directory(new_run_id(), os.environ) as place:
        asked = Discovery(resolved, environment, root, place)
        catalog = asked.catalog()
        if patterns:
            found = [str(s.get("stream", s.get("tap_stream_id"))) for s in catalog.get("streams", [])]
            called |= _names_in_the_lake([name for name in found if name not in names], taken=names)
            more = {name: contract_file(root, resolved, called[name]) for name in found if name not in names}
            kept = [] if force else [name for name, file in more.items() if file.exists()]
            if kept:
                click.echo(f"{', '.join(kept)}: {_KEPT}")
            files |= {name: file for name, file in more.items() if name not in kept}
        samples = asked.samples(catalog, list(files))
    code = 0
    for name, file in files.items():
        entry = _entry(catalog, name, resolved)
        contract = contract_of(
            {**entry, "stream": called.get(name, name)},
            samples.get(name, []),
            source=resolved.source.type,
            domain=resolved.target.namespace,
        )
        if (why := _why_none([column["name"] for column in contract["schema"]])) is not None:
            click.echo(f"{name}: gets no contract: {why}", err=True)
            code = 1
            continue
        write_atomic(file, _text(contract, resolved))
        click.echo(f"wrote {file.relative_to(root)}: {len(contract['schema'])} columns; read it and correct it")
    return code


def _why_none(columns: Sequence[str]) -> str | None:
    """Why there can be no contract with these columns."""
    if not columns:
        return "it has no columns; exclude the table"
    twin = next(case_twins(columns), None)
    return f"{twin[1]} and {columns[twin[0]]} differ in case only; {_RENAME_TWINS}" if twin else None


def _names_in_the_lake(tables: Sequence[str], taken: Iterable[str]) -> dict[str, str]:
    """Table -> what its contract calls it: itself, or what the lake takes and no other table has, in whatever case."""
    found: dict[str, str] = {}
    used = {name.lower() for name in taken}
    for name in sorted(tables, key=lambda name: (UNSAFE.search(name) is not None, name != name.lower())):
        safe = base = UNSAFE.sub("_", name)
        n = 1
        while safe.lower() in used:
            n += 1
            safe = f"{base}_{n}"
        used.add(safe.lower())
        found[name] = safe
    return found


def contract_file(root: Path, job: ResolvedJob, name: str) -> Path:
    """Where the contract of an object goes."""
    safe = re.sub(r"[/\\]", "_", name)
    return root / "assets" / job.source.type / "v1.0" / f"{safe}.yaml"


def _entry(catalog: dict[str, Any], name: str, job: ResolvedJob) -> dict[str, Any]:
    known: list[str] = []
    for stream in catalog.get("streams", []):
        if name in (stream.get("stream"), stream.get("tap_stream_id")):
            entry: dict[str, Any] = {**stream, "stream": name}
            return entry
        known.append(str(stream.get("stream", stream.get("tap_stream_id"))))
    raise DativoError(
        f"{job.source.plugin.name}: has no object {name}", f"it has: {', '.join(sorted(known)) or 'none'}"
    )


def _text(contract: dict[str, Any], job: ResolvedJob) -> bytes:
    head = (
        f"# What {job.source.plugin.name} says of this object. Read it, correct types, keys and classifications,\n"
        "# add rules, and set status to active.\n"
    )
    return (head + yaml_text.dump(contract)).encode()
